//! A VRF in the pod.

use plexus_e2e::ip;
use serde_json::json;

use crate::fixture::{assert_link, attach_and_detach, dummies, host_local};
use crate::start;

#[test]
fn two_interfaces_of_a_pod_share_a_vrf() {
    let node;
    let mut plexus = start!(node, &["vrf"], &["vrf", "macvlan", "host-local"]);
    dummies(&node, &["uplink1", "uplink2"]);
    for number in [1, 2] {
        let plugins = json!([
            {"type": "macvlan", "master": format!("uplink{number}"), "ipam": host_local(number)},
            {"type": "vrf", "vrfname": "blue"},
        ]);
        let config = json!({"cniVersion": "1.0.0", "plugins": plugins});
        plexus
            .manifests
            .definition(&format!("lan{number}"), &config);
    }
    // macvlan fails CHECK because its routes are in the table of the VRF.
    plexus.runtime = plexus.runtime_with(json!({}));
    attach_and_detach(&mut plexus, "lan1,lan2", |sandbox| {
        let table = sandbox.run(|| ip::details("blue"))["linkinfo"]["info_data"]["table"].take();
        assert_link(sandbox, "blue", "vrf", ("table", &table));
        for name in ["net1", "net2"] {
            let details = sandbox.run(|| ip::details(name));
            assert_eq!(details["master"], "blue", "{details}");
        }
    });
}
