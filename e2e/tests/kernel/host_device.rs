//! A link of the node moves into the pod and back.

use serde_json::json;

use crate::fixture::{attach_and_detach, dummies, host_local};
use crate::start;

#[test]
fn a_dummy_moves_into_the_pod_and_back_under_its_name() {
    let node;
    let mut plexus = start!(node, &[], &["host-device", "host-local"]);
    dummies(&node, &["ens5"]);
    let mac = |links: Vec<plexus_e2e::ip::Link>, name: &str| {
        let mut links = links.into_iter();
        links.find(|link| link.name == name).map(|link| link.mac)
    };
    let expected = mac(node.links(), "ens5");
    let config = json!({
        "cniVersion": "1.0.0", "type": "host-device", "device": "ens5", "ipam": host_local(1),
    });
    plexus.manifests.definition("card", &config);
    attach_and_detach(&mut plexus, "card@storage", |sandbox| {
        assert_eq!(mac(sandbox.links(), "storage"), expected);
        assert_eq!(mac(node.links(), "ens5"), None);
    });
}
