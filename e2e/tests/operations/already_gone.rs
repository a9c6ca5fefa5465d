//! DELs of attachments that no longer exist (decision 13).

use std::fs;

use plexus_api::rows;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::{Plexus, Script, attaches, node, or_skip};
use serde_json::json;

/// The directory of host-local's leases of the network `lan`.
const LEASES: &str = "/var/lib/cni/networks/lan";

#[test]
fn del_of_something_that_is_gone_succeeds_and_the_ipam_plugin_still_gets_a_del() {
    rows!("R-061");
    let node = node!();
    let plexus = Plexus::start(&node);
    for name in ["first", "leases"] {
        node.plugin(name, &Script::new());
    }
    let config = json!({"cniVersion": "1.0.0", "name": "lan", "plugins": [
        {"type": "main"},
        {"type": "last", "ipam": {"type": "leases"}, "mode": "l2"},
        {"type": "first"},
    ]});
    plexus.manifests.definition("lan", &config);
    for (pod, code, msg) in [
        ("code", 3, "who is that?"),
        ("link", 999, "failed to find \"net1\": Link not found"),
        ("device", 100, "no such device"),
    ] {
        node.plugin("last", &Script::new());
        let (_, target) = plexus.attached(pod, "lan");
        node.plugin("last", &Script::new().fails("DEL", code, msg));
        node.forget_calls();
        plexus.runtime.del(&target).expect_success();
        let expected = [
            "DEL first net1",
            "DEL last net1",
            "DEL leases net1",
            "DEL main net1",
            "DEL main eth0",
        ];
        assert_eq!(plexus.calls(), expected, "{pod}");
        // The IPAM plugin gets the input of the plugin that would have run it.
        let calls = node.calls();
        assert_eq!(calls[2].config(), calls[1].config(), "{pod}");
        assert_eq!(
            calls[2].env("CNI_NETNS"),
            calls[1].env("CNI_NETNS"),
            "{pod}"
        );
        assert_eq!(plexus.records(), [""; 0], "{pod}");
    }
}

#[test]
fn a_lease_that_cannot_be_released_keeps_the_record() {
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin("lan", &attaches().fails("DEL", 3, "who is that?"));
    node.plugin(
        "leases",
        &Script::new().fails("DEL", 120, "no answer from the server"),
    );
    let config = json!({"cniVersion": "1.0.0", "type": "lan", "ipam": {"type": "leases"}});
    plexus.manifests.definition("lan", &config);
    let (_, target) = plexus.attached("p", "lan");
    assert_eq!(
        plexus.runtime.del(&target).expect_code(120),
        "DEL pod default/p: network \"default/lan\" interface \"net1\": IPAM plugin \"leases\": \
         no answer from the server (code 120)"
    );
    assert_eq!(plexus.records().len(), 1);
    node.plugin("leases", &Script::new());
    plexus.runtime.del(&target).expect_success();
    assert_eq!(plexus.records(), [""; 0]);
}

#[test]
fn a_removed_master_or_namespace_leaves_no_lease() {
    let dir = or_skip!(plugin_dir(&["macvlan", "host-device", "host-local"]));
    let node = node!();
    node.real_plugins(&dir, &["macvlan", "host-device", "host-local"]);
    let plexus = Plexus::start(&node);
    let ipam = json!({"type": "host-local", "subnet": "10.5.0.0/16"});
    let leases = || {
        let mut files = node.list(LEASES);
        files.retain(|file| file.starts_with("10."));
        files
    };

    node.uplink("uplink0");
    let macvlan = json!({
        "cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "uplink0", "ipam": ipam,
    });
    plexus.manifests.definition("lan", &macvlan);
    let (_, target) = plexus.attached("master", "lan");
    assert_eq!(leases().len(), 1);
    node.ip("link del uplink0");
    plexus.runtime.del(&target).expect_success();
    assert_eq!((leases().len(), plexus.records().len()), (0, 0));

    // The same plugin, with a namespace that is gone and whose path the runtime still passes, and
    // without a namespace.
    for (pod, pass_path, link) in [("path", true, "device0"), ("no-path", false, "device1")] {
        node.ip(&format!("link add {link} type veth peer name {link}p"));
        let device = json!({
            "cniVersion": "1.0.0", "name": "lan", "type": "host-device", "device": link,
            "ipam": ipam,
        });
        plexus.manifests.definition("device", &device);
        let (sandbox, target) = plexus.attached(pod, "device");
        assert_eq!(leases().len(), 1, "{pod}");
        sandbox.remove();
        let target = if pass_path {
            target
        } else {
            target.without_netns()
        };
        plexus.runtime.del(&target).expect_success();
        assert_eq!((leases().len(), plexus.records().len()), (0, 0), "{pod}");
    }
}

#[test]
fn an_ipam_plugin_that_is_missing_is_named_before_any_plugin_runs() {
    rows!("R-040");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("b", &attaches());
    node.plugin("lan", &attaches());
    let config = json!({"cniVersion": "1.0.0", "type": "lan", "IPAM": {"Type": "whereabouts"}});
    plexus.manifests.definition("lan", &config);
    let (sandbox, target) = plexus.sandbox("p", "b,lan");
    for _ in 0..2 {
        let output = plexus.runtime.add(&target);
        output.expect_error(
            102,
            &["default/lan", "net2", "ipam.type", "\"whereabouts\""],
        );
        plexus.runtime.del(&target).expect_success();
        assert_eq!(plexus.calls(), [""; 0]);
    }
    plexus.assert_nothing_left(&sandbox);
    fs::hard_link(
        node.bin_dir().join("lan"),
        node.bin_dir().join("whereabouts"),
    )
    .expect("install the plugin");
    plexus.runtime.add(&target).result();
}

#[test]
fn the_ipam_plugin_of_the_nodes_own_network_may_be_part_of_its_plugin() {
    let node = node!();
    let default = json!({
        "cniVersion": "1.0.0", "name": "azure", "plugins": [
            {"type": "main", "ipam": {"type": "azure-cns", "mode": "overlay"}},
        ],
    });
    let plexus = Plexus::on(&node).default_network(default).start();
    let (sandbox, target) = plexus.attached("p", "");
    plexus.runtime.del(&target.without_netns()).expect_success();
    sandbox.ip("link del eth0");
    plexus.assert_nothing_left(&sandbox);
}
