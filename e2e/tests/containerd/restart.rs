//! containerd restarts under running pods.

use plexus_e2e::Pod;
use serde_json::json;

use crate::stage;
use crate::stage::NETWORKS;

#[test]
fn pods_live_on_when_the_runtime_restarts_and_can_be_stopped() {
    let node;
    let mut stage = stage!(node, json!({}));
    let ids = ["web", "db", "cache"].map(|name| stage.run(&Pod::new(name).with_networks(NETWORKS)));
    let before = stage.pods();
    stage.containerd.restart();
    stage.wait_network_ready(true);
    for id in &ids {
        assert!(stage.cri.status(id).expect("it is known").is_ready());
    }
    // A runtime that tells plugins at its start which pods live (GC) must not lose any by that.
    assert_eq!(stage.pods(), before);
    let id = stage.run(&Pod::new("new").with_networks(NETWORKS));
    assert_eq!(stage.pods().len(), 4);
    for id in ids.iter().chain([&id]) {
        stage.end(id);
    }
    stage.expect_nothing_left();
}
