//! `NetworkReady`, from which kubelet derives the readiness of the node.

use std::fs;
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

use plexus_e2e::plexus::PUBLISHED;
use serde_json::json;

use crate::start;

#[test]
fn the_node_is_ready_while_the_published_configuration_exists() {
    plexus_api::rows!("C-13");
    let node;
    // A runtime that calls STATUS reloads its directory after the call.
    let mut plexus = start!(node, json!({"daemonWaitStatus": "50ms"}));
    assert!(plexus.cri.network_ready().expect("a condition").status);
    plexus.daemon.stop();
    node.run(|| fs::remove_file(PUBLISHED))
        .expect("remove the file");
    plexus.wait_network_ready(false);
    plexus.daemon.launch();
    plexus.wait_network_ready(true);
}

#[test]
fn the_node_stays_ready_during_an_upgrade_and_a_restart_of_the_daemon() {
    let node;
    let mut plexus = start!(node, json!({}));
    let cri = plexus.cri.clone();
    let (stop, stopped) = mpsc::channel::<()>();
    thread::scope(move |scope| {
        let watcher = scope.spawn(move || {
            let mut checks = 0;
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                let condition = cri.network_ready().expect("a condition");
                assert!(condition.status, "{}", condition.message);
                checks += 1;
            }
            checks
        });
        // As in a rolling update with a surge.
        let mut new = plexus.start_successor();
        new.wait_ready();
        plexus.daemon.stop();
        plexus.daemon = new;
        plexus.daemon.restart();
        drop(stop);
        let checks = watcher
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(checks > 0);
    });
}

#[test]
fn a_stopped_daemon_makes_the_node_not_ready_if_the_runtime_calls_status() {
    plexus_api::rows!("C-15");
    let node;
    let mut plexus = start!(node, json!({"daemonWaitStatus": "50ms"}));
    plexus.daemon.stop();
    let condition = plexus.cri.network_ready().expect("a condition");
    assert_eq!(condition.status, !plexus.calls_status(), "{condition:?}");
    assert!(
        condition.status || condition.message.contains("plexusd cannot be reached"),
        "{condition:?}"
    );
    plexus.daemon.restart();
    assert!(plexus.cri.network_ready().expect("a condition").status);
}
