//! VLANs of a link of the node.

use plexus_e2e::Plexus;
use serde_json::json;

use crate::fixture::{assert_link, attach_and_detach, dummies, host_local};
use crate::start;

fn define(plexus: &Plexus<'_>) {
    dummies(plexus.node, &["uplink0"]);
    for id in [5, 6] {
        let config = json!({
            "cniVersion": "1.0.0", "type": "vlan", "master": "uplink0", "vlanId": id,
            "ipam": host_local(id),
        });
        plexus.manifests.definition(&format!("vlan{id}"), &config);
    }
}

#[test]
fn a_pod_gets_two_vlans_of_one_link() {
    let node;
    let mut plexus = start!(node, &["vlan"], &["vlan", "host-local"]);
    define(&plexus);
    attach_and_detach(&mut plexus, "vlan6,vlan5@storage", |sandbox| {
        for (name, id) in [("net1", 6), ("storage", 5)] {
            assert_link(sandbox, name, "vlan", ("id", &json!(id)));
            let addresses = sandbox.link(name).expect("a link").addresses;
            assert!(
                addresses[0].starts_with(&format!("10.9.{id}.")),
                "{addresses:?}"
            );
        }
    });
}

#[test]
fn a_second_pod_on_a_vlan_fails_and_the_first_keeps_its_interface() {
    let node;
    let plexus = start!(node, &["vlan"], &["vlan", "host-local"]);
    define(&plexus);
    let (first, first_target) = plexus.attached("first", "vlan5");
    let links = first.links();
    // The kernel has one interface for each VLAN of a link, on all nodes and in all sandboxes.
    let (second, target) = plexus.sandbox("second", "vlan6,vlan5");
    let output = plexus.runtime.add(&target);
    output.expect_error(
        output.code().expect("a code"),
        &["default/vlan5", "net2", "exists"],
    );
    assert_eq!(second.link_names(), ["lo"]);
    assert_eq!(first.links(), links);
    plexus.runtime.check(&first_target).expect_success();
    plexus.runtime.del(&target).expect_success();
    plexus.runtime.del(&first_target).expect_success();
    plexus.assert_nothing_left(&first);
}
