//! The modes of ipvlan and macvlan, on dummy links.

use plexus_e2e::{Node, Plexus};
use serde_json::json;

use crate::fixture::{assert_link, attach_and_detach, dummies, host_local};
use crate::start;

/// Defines a network of each mode, and attaches a pod to all of them. Each mode has a link of its
/// own, because all ipvlans of a link have one mode and a macvlan may take its link for itself.
fn run(node: &Node, plexus: &mut Plexus<'_>, plugin: &str, modes: &[&str]) {
    for (number, mode) in (1..).zip(modes) {
        let master = format!("uplink{number}");
        dummies(node, &[&master]);
        let config = json!({
            "cniVersion": "1.0.0", "type": plugin, "master": master, "mode": mode,
            "ipam": host_local(number),
        });
        plexus.manifests.definition(mode, &config);
    }
    let selected: Vec<_> = modes.iter().map(|mode| format!("{mode}@{mode}")).collect();
    attach_and_detach(plexus, &selected.join(","), |sandbox| {
        for (number, mode) in (1..).zip(modes) {
            assert_link(sandbox, mode, plugin, ("mode", &json!(mode)));
            let addresses = sandbox.link(mode).expect("a link").addresses;
            assert!(
                addresses[0].starts_with(&format!("10.9.{number}.")),
                "{addresses:?}"
            );
        }
    });
}

#[test]
fn a_pod_gets_an_ipvlan_of_each_mode() {
    let node;
    let mut plexus = start!(node, &["ipvlan"], &["ipvlan", "host-local"]);
    run(&node, &mut plexus, "ipvlan", &["l2", "l3", "l3s"]);
}

#[test]
fn a_pod_gets_a_macvlan_of_each_mode() {
    let node;
    let mut plexus = start!(node, &["macvlan"], &["macvlan", "host-local"]);
    run(
        &node,
        &mut plexus,
        "macvlan",
        &["bridge", "private", "vepa", "passthru"],
    );
}
