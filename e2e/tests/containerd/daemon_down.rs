//! Pods that end while plexusd is down.

use plexus_e2e::Pod;
use serde_json::json;

use crate::fixture::NETWORKS;
use crate::start;

#[test]
fn the_runtime_keeps_a_pod_until_the_daemon_is_back() {
    plexus_api::rows!("P-094");
    let node;
    let mut plexus = start!(node, json!({"daemonWaitDel": "100ms"}));
    let id = plexus.run_pod(&Pod::new("web").with_networks(NETWORKS));
    plexus.daemon.stop();
    for _ in 0..2 {
        let error = plexus.cri.stop(&id).expect_err("DEL must fail");
        assert!(
            error
                .message
                .contains("the DEL is stored in /var/lib/plexus/spool/"),
            "{error}"
        );
    }
    assert_eq!(plexus.counts(), [1, 1, 1]);
    plexus.cri.remove(&id).expect_err("the pod is not stopped");

    plexus.daemon.restart();
    plexus.remove_pod(&id);
    plexus.wait_nothing_left();
}

#[test]
fn the_pod_ends_at_once_if_dels_are_spooled() {
    plexus_api::rows!("P-094");
    let node;
    let keys = json!({"daemonWaitDel": "100ms", "delWhenDown": "spool"});
    let mut plexus = start!(node, keys);
    let id = plexus.run_pod(&Pod::new("web").with_networks(NETWORKS));
    plexus.daemon.stop();
    plexus.remove_pod(&id);
    assert_eq!(plexus.counts(), [1, 1, 0]);
    assert!(plexus.leftovers().is_some());

    plexus.daemon.restart();
    plexus.wait_nothing_left();
}
