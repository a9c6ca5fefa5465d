//! Pods that end while plexusd is away.

use plexus_e2e::Pod;
use plexus_e2e::left::{LEDGER, SPOOL};
use serde_json::json;

use crate::stage;
use crate::stage::{NETWORKS, SANDBOXES};

#[test]
fn the_runtime_keeps_the_pod_until_the_daemon_is_back() {
    plexus_api::rows!("P-094");
    let node;
    let mut stage = stage!(node, json!({"daemonWaitDel": "100ms"}));
    let id = stage.run(&Pod::new("web").with_networks(NETWORKS));
    stage.daemon.stop();
    for _ in 0..2 {
        let refused = stage
            .cri
            .stop(&id)
            .expect_err("nobody has deleted anything");
        assert!(
            refused
                .message
                .contains("the DEL is stored in /var/lib/plexus/spool/"),
            "{refused}"
        );
    }
    assert_eq!(
        [LEDGER, SPOOL, SANDBOXES].map(|dir| stage.names(dir).len()),
        [1, 1, 1]
    );
    assert!(stage.cri.remove(&id).is_err(), "it is not stopped");

    stage.daemon.restart();
    stage.end(&id);
    stage.expect_nothing_left();
}

#[test]
fn the_pod_may_go_at_once() {
    plexus_api::rows!("P-094");
    let node;
    let mut stage = stage!(
        node,
        json!({"daemonWaitDel": "100ms", "delWhenDown": "spool"})
    );
    let id = stage.run(&Pod::new("web").with_networks(NETWORKS));
    stage.daemon.stop();
    stage.end(&id);
    assert_eq!(
        [LEDGER, SPOOL, SANDBOXES].map(|dir| stage.names(dir).len()),
        [1, 1, 0]
    );
    assert!(stage.left().is_some());

    stage.daemon.restart();
    stage.expect_nothing_left();
}
