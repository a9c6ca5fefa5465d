//! CRI-O sends CHECK right after every ADD, and pods whose plugins do not implement CHECK, or fail
//! it, start nevertheless.

use plexus_api::rows;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::plexus::DEFAULT_NETWORK_FILE;
use plexus_e2e::{
    CniOutput, Flavour, Node, Plexus, Pod, Runtime, Script, Step, attaches, node, or_skip, skip,
};
use serde_json::{Value, json};

/// The reference plugins that the definitions use.
const PLUGINS: [&str; 5] = ["bridge", "macvlan", "sbr", "tuning", "host-local"];

/// Whereabouts, as far as CHECK is concerned.
fn whereabouts() -> Script {
    let address = json!({
        "cniVersion": "$CNIVERSION",
        "ips": [{"version": "4", "address": "10.20.0.5/16"}],
    });
    Script::new().on("ADD", [Step::Result(address)]).fails(
        "CHECK",
        999,
        "CNI CHECK method is not implemented",
    )
}

fn host_local(keys: &[(&str, Value)]) -> Value {
    let mut ipam = json!({"type": "host-local", "subnet": "10.21.0.0/16"});
    for (key, value) in keys {
        ipam[key] = value.clone();
    }
    ipam
}

/// Starts and stops a pod with the network `name` as CRI-O does, and asserts that nothing is left.
/// Returns the output of a CHECK of all plugins.
#[track_caller]
fn run_pod(plexus: &Plexus<'_>, name: &str, config: &Value) -> CniOutput {
    plexus.manifests.definition(name, config);
    start_and_stop(plexus, &Pod::new(name).with_networks(name))
}

#[track_caller]
fn start_and_stop(plexus: &Plexus<'_>, pod: &Pod) -> CniOutput {
    let name = &pod.name;
    let runtime = Runtime::of_shim(plexus.node, Flavour::Crio, json!({}));
    let sandbox = plexus.node.sandbox(name);
    let output = runtime.run_pod(&sandbox, pod);
    assert!(output.ok(), "{name}: {output:?}");
    let all = plexus.runtime_with(json!({"checkPlugins": "all"}));
    let check = all.check(&sandbox.target(pod));
    let output = runtime.stop_pod(&sandbox, pod);
    assert!(output.ok(), "{name}: {output:?}");
    assert_eq!(plexus.records(), [""; 0], "{name}");
    check
}

fn start(node: &Node) -> Plexus<'_> {
    let plexus = Plexus::start(node);
    node.uplink("uplink0");
    node.plugin("whereabouts", &whereabouts());
    plexus
}

#[test]
fn pods_start_although_check_of_a_secondary_plugin_fails() {
    rows!("P-096");
    let dir = or_skip!(plugin_dir(&PLUGINS));
    let node = node!();
    let plexus = start(&node);
    node.real_plugins(&dir, &PLUGINS);
    let macvlan = |ipam: Value| json!({"type": "macvlan", "master": "uplink0", "ipam": ipam});
    let bridge = |ipam: Value| json!({"type": "bridge", "bridge": "br1", "ipam": ipam});
    let remote = || json!({"type": "whereabouts", "range": "10.20.0.0/16"});
    let list = |version: &str, plugins: Value| json!({"cniVersion": version, "plugins": plugins});
    let mac = |mac: &str| {
        let tuning = json!({"type": "tuning", "mac": mac});
        list("1.0.0", json!([macvlan(host_local(&[])), tuning]))
    };
    let without_version = json!({"type": "bridge", "bridge": "br1", "ipam": remote()});
    let empty_ipam = json!({"cniVersion": "0.4.0", "type": "bridge", "bridge": "br1", "ipam": {}});
    let sbr = json!([macvlan(host_local(&[])), {"type": "sbr"}]);
    let route = host_local(&[("routes", json!([{"dst": "10.22.0.0/16"}]))]);
    for (name, config) in [
        ("whereabouts04", list("0.4.0", json!([macvlan(remote())]))),
        ("whereabouts1", list("1.0.0", json!([bridge(remote())]))),
        ("no-version", without_version),
        ("empty-ipam", empty_ipam),
        ("sbr", list("0.4.0", sbr)),
        ("upper-case", mac("0A:00:00:00:00:01")),
        ("dashes", mac("0a-00-00-00-00-01")),
        ("route", list("0.4.0", json!([macvlan(route)]))),
    ] {
        let check = run_pod(&plexus, name, &config);
        assert!(!check.ok(), "{name}: the definition passes CHECK");
    }
}

#[test]
fn a_pod_starts_although_check_of_the_network_that_replaces_its_default_network_fails() {
    rows!("P-096");
    let dir = or_skip!(plugin_dir(&PLUGINS));
    let node = node!();
    let plexus = start(&node);
    node.real_plugins(&dir, &PLUGINS);
    let ipam = json!({"type": "whereabouts", "range": "10.20.0.0/16"});
    let macvlan = json!({"type": "macvlan", "master": "uplink0", "ipam": ipam});
    let config = json!({"cniVersion": "0.4.0", "plugins": [macvlan]});
    plexus.manifests.definition("lan", &config);
    let pod = Pod::new("p").annotated("v1.multus-cni.io/default-network", "default/lan");
    let check = start_and_stop(&plexus, &pod);
    assert!(!check.ok(), "the definition passes CHECK");
}

#[test]
fn pods_with_a_sysctl_of_their_interface_start() {
    rows!("P-096");
    let dir = or_skip!(plugin_dir(&PLUGINS));
    let node = node!();
    let plexus = start(&node);
    node.real_plugins(&dir, &PLUGINS);
    let sandbox = node.sandbox("probe");
    let sysctl = "/proc/sys/net/ipv4/conf/lo/arp_filter";
    if let Err(error) = sandbox.run(|| std::fs::write(sysctl, "0")) {
        skip!("{sysctl} cannot be written: {error}");
    }
    let config = json!({
        "cniVersion": "0.4.0",
        "plugins": [
            {"type": "macvlan", "master": "uplink0", "ipam": host_local(&[])},
            {"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}},
        ],
    });
    run_pod(&plexus, "sysctl", &config);
}

#[test]
fn pods_whose_interface_has_no_link_start() {
    rows!("P-096");
    let node = node!();
    let plexus = start(&node);
    // sriov with a device bound to vfio-pci, and userspace with vhost-user.
    let result = json!({
        "cniVersion": "$CNIVERSION",
        "interfaces": [{"name": "$IFNAME", "sandbox": "$NETNS"}],
    });
    for kind in ["sriov", "userspace"] {
        node.plugin(
            kind,
            &Script::new().on("ADD", [Step::Result(result.clone())]),
        );
        for version in ["0.3.1", "0.4.0", "1.0.0"] {
            let name = format!("{kind}-{}", version.replace('.', "-"));
            let config = json!({"cniVersion": version, "type": kind});
            run_pod(&plexus, &name, &config);
        }
    }
}

#[test]
fn pods_keep_their_networks_when_crio_restarts() {
    rows!("C-24");
    let node = node!();
    let default = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": "main"}]});
    let mut plexus = Plexus::on(&node)
        .flavour(Flavour::Crio)
        .default_network(default)
        .installed()
        .start();
    plexus.network("a", &attaches());
    plexus.runtime.restart();
    let pods = ["running", "stopped"].map(|name| Pod::new(name).with_networks("a"));
    let [running, stopped] = ["running", "stopped"].map(|name| node.sandbox(name));
    for (sandbox, pod) in [&running, &stopped].into_iter().zip(&pods) {
        plexus.runtime.run_pod(sandbox, pod).result();
    }
    let links = running.links();
    // CRI-O removes the namespace of this pod, and keeps its cache.
    node.plugin("a", &attaches().fails("DEL", 120, "not now"));
    plexus.runtime.stop_pod(&stopped, &pods[1]).expect_code(120);
    node.plugin("a", &attaches());
    // The published configuration is another one than at the ADD of the pods.
    let list = json!({
        "cniVersion": "1.1.0", "name": "pods",
        "plugins": [{"type": "main", "capabilities": {"bandwidth": true}}],
    });
    plexus.node.write_json(DEFAULT_NETWORK_FILE, &list);
    plexus.daemon.restart();

    plexus.runtime.restart();
    plexus.runtime.status().expect_success();
    assert_eq!(plexus.records(), [running.id()]);
    assert_eq!(running.links(), links);
    plexus
        .runtime
        .check(&running.target(&pods[0]))
        .expect_success();
    plexus.runtime.stop_pod(&running, &pods[0]).expect_success();
    assert_eq!(plexus.records(), [""; 0]);
}

#[test]
fn a_failed_del_is_repeated_although_the_network_namespace_is_gone() {
    rows!("P-087");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"recoveryInterval": "50ms"}));
    plexus.network("a", &attaches());
    let runtime = Runtime::of_shim(&node, Flavour::Crio, json!({}));
    let sandbox = node.sandbox("p");
    let pod = Pod::new("p").with_networks("a");
    runtime.run_pod(&sandbox, &pod).result();
    node.plugin("a", &attaches().fails("DEL", 120, "not now"));
    // CRI-O removes the namespace and does not call again.
    runtime.stop_pod(&sandbox, &pod).expect_code(120);
    assert_eq!(plexus.records(), [sandbox.id()]);
    node.plugin("a", &attaches());
    plexus.wait_records(&[]);
}
