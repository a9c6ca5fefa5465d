//! containerd restarts while pods are running.

use plexus_e2e::Pod;
use serde_json::json;

use crate::fixture::NETWORKS;
use crate::start;

#[test]
fn pods_survive_a_restart_of_the_runtime_and_can_then_be_stopped() {
    let node;
    let mut plexus = start!(node, json!({}));
    let ids =
        ["web", "db", "cache"].map(|name| plexus.run_pod(&Pod::new(name).with_networks(NETWORKS)));
    let before = plexus.pods();
    plexus.containerd.restart();
    plexus.wait_network_ready(true);
    for id in &ids {
        assert!(plexus.cri.status(id).expect("a status").is_ready());
    }
    // Some versions of containerd call GC at their start.
    assert_eq!(plexus.pods(), before);
    let id = plexus.run_pod(&Pod::new("new").with_networks(NETWORKS));
    assert_eq!(plexus.pods().len(), 4);
    for id in ids.iter().chain([&id]) {
        plexus.remove_pod(id);
    }
    plexus.wait_nothing_left();
}
