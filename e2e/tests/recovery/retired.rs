//! Definitions with a mistake leave nothing behind (decision 31).

use plexus_api::rows;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::kubelet::{self, Container, Device};
use plexus_e2e::leftovers::LEDGER;
use plexus_e2e::{
    CniTarget, NodeWatch, Plexus, Pod, Sandbox, Script, Step, attaches, metric, node,
};
use plexus_e2e::{Node, or_skip};
use serde_json::{Value, json};

use crate::start_with;

/// Retires a record soon after its sandbox is gone.
fn start(node: &Node) -> Plexus<'_> {
    start_with(node, json!({"retireAfter": "50ms", "orphanAfter": "1h"}))
}

/// A plugin that refuses its configuration in every call.
fn refuses() -> Script {
    let msg = "json: cannot unmarshal string into Go struct field NetConf.mtu of type int";
    Script::new().fails("ADD", 999, msg).fails("DEL", 999, msg)
}

/// A failed ADD of a pod that selects `network`, and the DEL of a runtime that fails as well.
fn failed<'n>(plexus: &Plexus<'n>, pod: &str, network: &str) -> (Sandbox<'n>, CniTarget) {
    let (sandbox, target) = plexus.sandbox(pod, network);
    plexus.runtime.add(&target).expect_code(999);
    plexus.runtime.del(&target).expect_code(999);
    (sandbox, target)
}

#[test]
fn a_refused_del_of_an_attachment_that_never_succeeded_is_retired_once_its_sandbox_is_gone() {
    rows!("R-090");
    let node = node!();
    let plexus = start(&node);
    node.plugin("typo", &refuses());
    node.plugin("leases", &Script::new());
    let config = json!({"cniVersion": "1.0.0", "type": "typo", "ipam": {"type": "leases"}});
    plexus.manifests.definition("typo", &config);
    let (_living, living_target) = failed(&plexus, "living", "typo");
    let (gone, gone_target) = failed(&plexus, "gone", "typo");
    gone.remove();
    plexus.wait_records(&[&living_target]);
    assert_eq!(plexus.files("retired").len(), 1);
    // Only the IPAM plugin of the sandbox that is gone gets DELs of its own.
    let dels = |target| {
        let mut calls = plexus.calls_for(target);
        calls.retain(|call| call == "DEL leases net1");
        calls.len()
    };
    assert!(dels(&gone_target) >= 3 && dels(&living_target) == 0);
    plexus.daemon.wait_log("has stopped retrying the DEL");
    let metrics = plexus.daemon.metrics();
    let retired: usize = metric(&metrics, "plexus_ledger_retired_records");
    assert_eq!(retired, 1);

    // A retired record affects neither DEL nor ADD of the same container.
    let calls = plexus.calls_for(&gone_target).len();
    plexus.runtime.del(&gone_target).expect_success();
    assert_eq!(plexus.calls_for(&gone_target).len(), calls);
    node.plugin("typo", &attaches());
    let again = CniTarget {
        netns: node.sandbox("again").path().to_owned(),
        ..gone_target
    };
    plexus.runtime.add(&again).result();
}

#[test]
fn a_plugin_that_is_killed_does_not_refuse_its_del() {
    let node = node!();
    let keys = json!({"retireAfter": "0", "orphanAfter": "0"});
    let plexus = start_with(&node, keys);
    node.plugin("typo", &refuses());
    node.plugin("waits", &refuses().on("DEL", [Step::Signal(9)]));
    node.plugin("leases", &Script::new().on("DEL", [Step::Signal(9)]));
    let definition = |kind: &str, ipam: &str| json!({"cniVersion": "1.0.0", "type": kind, "ipam": {"type": ipam}});
    for (name, kind, ipam) in [
        ("waits", "waits", "typo"),
        ("leases", "typo", "leases"),
        ("typo", "typo", "typo"),
    ] {
        plexus.manifests.definition(name, &definition(kind, ipam));
    }
    let [waits, leases, typo] = ["waits", "leases", "typo"].map(|name| {
        let (sandbox, target) = plexus.sandbox(name, name);
        plexus.runtime.add(&target).expect_code(999);
        sandbox.remove();
        target
    });
    plexus.wait_records(&[&waits, &leases]);
    let dels = |target: &CniTarget, call: &str| {
        let mut calls = plexus.calls_for(target);
        calls.retain(|made| made == call);
        calls.len()
    };
    // The IPAM plugin runs alone only after the sandbox is known to be gone.
    NodeWatch::new(&node, &[LEDGER]).wait_while(|| {
        let counts = (
            dels(&waits, "DEL typo net1"),
            dels(&leases, "DEL leases net1"),
        );
        (counts.0 < 4 || counts.1 < 4).then_some(counts)
    });
    assert_eq!(plexus.files("retired").len(), 1);
    assert!(dels(&typo, "DEL typo net1") > 0);
    plexus.wait_records(&[&waits, &leases]);
}

#[test]
fn an_attachment_that_succeeded_is_never_retired() {
    let node = node!();
    let plexus = start_with(&node, json!({"retireAfter": "0", "orphanAfter": "0"}));
    plexus.network("a", &attaches());
    let (added, added_target) = plexus.attached("added", "a");
    node.plugin("a", &refuses());
    added.remove();
    node.plugin("typo", &refuses());
    let config = json!({"cniVersion": "1.0.0", "type": "typo"});
    plexus.manifests.definition("typo", &config);
    let (sandbox, target) = plexus.sandbox("typo", "typo");
    plexus.runtime.add(&target).expect_code(999);
    sandbox.remove();
    plexus.wait_records(&[&added_target]);
    // The daemon has retried the first record more often than the second one.
    NodeWatch::new(&node, &[LEDGER])
        .wait_while(|| (!plexus.record().contains("orphaned")).then_some("not orphaned"));
    assert_eq!(plexus.files("retired").len(), 1);
}

#[test]
fn a_corrected_definition_deletes_what_the_recorded_one_cannot() {
    let node = node!();
    let keys = json!({
        "retireAfter": "1h", "orphanAfter": "1h", "allowedPluginTypes": ["typo", "good"],
    });
    let plexus = start_with(&node, keys);
    node.plugin("typo", &refuses());
    for name in ["typo", "other"] {
        let config = json!({"cniVersion": "1.0.0", "type": "typo", "mtu": "1480"});
        plexus.manifests.definition(name, &config);
    }
    for name in ["good", "evil"] {
        node.plugin(name, &attaches());
    }
    let (sandbox, target) = failed(&plexus, "corrected", "typo");
    let (other, other_target) = failed(&plexus, "forbidden", "other");
    let corrected = |kind: &str| json!({"cniVersion": "1.0.0", "type": kind, "mtu": 1480});
    plexus.manifests.definition("other", &corrected("evil"));
    plexus.manifests.definition("typo", &corrected("good"));
    sandbox.remove();
    other.remove();
    plexus.wait_records(&[&other_target]);
    let ran = |name: &str| plexus.calls().contains(&format!("DEL {name} net1"));
    assert!(
        plexus
            .calls_for(&target)
            .contains(&"DEL good net1".to_owned())
    );
    // A plugin that the pod may not use does not run for its DEL either.
    NodeWatch::new(&node, &[LEDGER])
        .wait_while(|| (!plexus.record().contains("refused")).then_some("not refused"));
    assert!(!ran("evil"), "{:?}", plexus.calls());
    assert_eq!(plexus.files("retired"), [""; 0]);
}

#[test]
fn the_plugins_of_a_corrected_definition_get_the_device_of_the_failed_add() {
    rows!("D-032");
    let node = node!();
    let mut kubelet = node.kubelet();
    let plexus = start_with(&node, json!({"retireAfter": "1h", "orphanAfter": "1h"}));
    node.plugin("typo", &refuses());
    node.plugin("good", &attaches());
    let define = |config: &Value| {
        let resource = "example.com/vf";
        plexus.manifests.device_definition("typo", resource, config);
    };
    define(&json!({"cniVersion": "1.0.0", "type": "typo", "mtu": "1480"}));
    let container = Container::new("c").device(Device::new("example.com/vf", "0000:03:02.0"));
    kubelet.run(kubelet::Pod::new("default", "pod").with(container));
    let (sandbox, target) = failed(&plexus, "pod", "typo");
    kubelet.stop();
    let plugins = json!([{"type": "good"}, {"type": "good", "mtu": 1480}]);
    define(&json!({"cniVersion": "1.0.0", "plugins": plugins}));
    sandbox.remove();
    plexus.wait_records(&[]);
    let calls = node.calls_for(&target.container).into_iter();
    let devices: Vec<_> = calls
        .filter(|call| call.summary() == "DEL good net1")
        .map(|call| call.config()["deviceID"].clone())
        .collect();
    assert_eq!(devices, ["0000:03:02.0", "0000:03:02.0"]);
}

/// Ten definitions with a mistake. The bridge and the uplink exist on the node.
fn mistakes() -> Vec<(&'static str, Value)> {
    let ipam = json!({"type": "host-local", "subnet": "10.7.0.0/16"});
    let bridge = |name: &str, key: &str, value: Value| {
        let mut config = json!({
            "cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": "br1", "ipam": ipam,
        });
        config[key] = value;
        config
    };
    let plugin = |name: &str, kind: &str, ipam: Value, key: &str, value: &str| json!({"cniVersion": "1.0.0", "name": name, "type": kind, "ipam": ipam, key: value});
    let subnet = json!({"type": "host-local", "subnet": "10.1.0.0"});
    let missing = json!({"type": "whereabouts", "range": "10.8.0.0/16"});
    vec![
        ("mtu", bridge("mtu", "mtu", json!("1480"))),
        ("vlan-text", bridge("vlan-text", "vlan", json!("100"))),
        ("vlan-range", bridge("vlan-range", "vlan", json!(8888))),
        ("subnet", bridge("subnet", "ipam", subnet)),
        ("no-ipam", bridge("no-ipam", "ipam", missing)),
        (
            "no-master",
            plugin("no-master", "macvlan", ipam.clone(), "master", "nowhere0"),
        ),
        (
            "mode",
            plugin("mode", "macvlan", ipam.clone(), "mode", "l9"),
        ),
        (
            "no-device",
            plugin("no-device", "host-device", ipam.clone(), "x", "y"),
        ),
        (
            "no-dhcp",
            plugin(
                "no-dhcp",
                "macvlan",
                json!({"type": "dhcp"}),
                "master",
                "uplink0",
            ),
        ),
        (
            "second",
            json!({"cniVersion": "1.0.0", "name": "second", "plugins": [
                {"type": "bridge", "bridge": "br1", "ipam": ipam},
                {"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.nowhere": "1"}},
            ]}),
        ),
    ]
}

#[test]
fn definitions_with_a_mistake_leave_nothing_behind_with_real_plugins() {
    rows!("R-090");
    let plugins = [
        "bridge",
        "macvlan",
        "host-device",
        "host-local",
        "dhcp",
        "tuning",
    ];
    let dir = or_skip!(plugin_dir(&plugins));
    let node = node!();
    node.real_plugins(&dir, &plugins);
    node.uplink("uplink0");
    node.ip("link add br1 address 02:00:00:00:00:01 type bridge");
    node.ip("link set br1 up");
    let plexus = start(&node);
    let names = || -> Vec<_> { node.links().into_iter().map(|link| link.name).collect() };
    let links_before = names();
    for (name, config) in mistakes() {
        plexus.manifests.definition(&format!("bad-{name}"), &config);
    }
    for retry in 0..4 {
        for (name, _) in mistakes() {
            let pod = Pod::new(&format!("{name}-{retry}")).with_networks(format!("bad-{name}"));
            let sandbox = node.sandbox(&pod.name);
            let target = sandbox.target(&pod);
            let output = plexus.runtime.add(&target);
            assert!(!output.ok(), "{name}: {output:?}");
            // The runtime ignores the result and removes the sandbox, as CRI-O does.
            let _ = plexus.runtime.del(&target);
            sandbox.remove();
        }
    }
    plexus.wait_records(&[]);
    let leases: Vec<_> = node
        .list("/var/lib/cni/networks")
        .into_iter()
        .flat_map(|network| node.list(format!("/var/lib/cni/networks/{network}")))
        .filter(|file| file.starts_with("10."))
        .collect();
    assert_eq!(leases, [""; 0]);
    // The kernel removes the links of a namespace some time after the namespace.
    let watch = NodeWatch::new::<&str>(&node, &[]);
    watch.wait_while(|| Some(names()).filter(|links| *links != links_before));
    let retired = plexus.files("retired");
    assert!(retired.len() < 40, "{retired:?}");
    let stopped = plexus.daemon.ledger(&["list"]).expect("list the ledger");
    assert!(!stopped.contains("deleting"), "{stopped}");
}
