//! The devices that kubelet has allocated to a pod reach the plugins of its networks.

use std::collections::BTreeMap;

use plexus_api::rows;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::kubelet::{Container, Device, Kubelet, Pod};
use plexus_e2e::{Plexus, PluginCall, attaches, node, or_skip};
use serde_json::{Value, json};

const VF: &str = "example.com/vf";

/// Allocates devices of [`VF`] to the pod `default/NAME`, one to each of its containers.
fn allocate(kubelet: &Kubelet, pod: &str, devices: &[&str]) {
    let pod = devices
        .iter()
        .map(|device| Container::new(device).device(Device::new(VF, device)))
        .fold(Pod::new("default", pod), Pod::with);
    kubelet.run(pod);
}

/// The device in the configuration of each call of one operation, by interface.
fn devices(plexus: &Plexus<'_>, operation: &str) -> BTreeMap<String, Value> {
    let calls = plexus.calls_of(operation).into_iter();
    calls
        .map(|call| {
            let config = call.config();
            assert_eq!(config.get("deviceID"), config.get("pciBusID"));
            let device = config.get("deviceID").cloned().unwrap_or_default();
            (call.env("CNI_IFNAME").to_owned(), device)
        })
        .collect()
}

#[test]
fn the_networks_of_a_resource_get_its_devices_in_order_and_keep_them_without_kubelet() {
    rows!("D-032", "D-033", "D-044");
    let node = node!();
    let mut kubelet = node.kubelet();
    let mut plexus = Plexus::start_with(&node, json!({"checkPlugins": "all"}));
    plexus.device_networks(&[("second", VF), ("first", VF)]);
    plexus.networks(&["plain"]);
    allocate(
        &kubelet,
        "pod",
        &["0000:03:02.2", "0000:03:02.0", "0000:03:02.1"],
    );
    let (sandbox, target) = plexus.attached("pod", "second, plain, first, second@again");
    let expected = BTreeMap::from([
        ("eth0".to_owned(), Value::Null),
        ("net1".to_owned(), json!("0000:03:02.0")),
        ("net2".to_owned(), Value::Null),
        ("net3".to_owned(), json!("0000:03:02.1")),
        ("again".to_owned(), json!("0000:03:02.2")),
    ]);
    assert_eq!(devices(&plexus, "ADD"), expected);

    // Kubelet has given the devices to another pod, and then ends.
    allocate(&kubelet, "pod", &["0000:03:02.7"]);
    let asked = kubelet.calls();
    kubelet.stop();
    plexus.daemon.restart();
    plexus.runtime.check(&target).expect_success();
    assert_eq!(devices(&plexus, "CHECK"), expected);
    plexus.runtime.del(&target).expect_success();
    assert_eq!(devices(&plexus, "DEL"), expected);
    assert_eq!(kubelet.calls(), asked, "only ADD asks kubelet");
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn the_default_network_and_the_others_get_their_devices_from_one_list() {
    rows!("D-034");
    let node = node!();
    let kubelet = node.kubelet();
    let keys = json!({
        "clusterNetwork": "vf", "defaultNetworks": ["common"],
        "multusNamespace": "default",
    });
    let mut plexus = Plexus::on(&node).config(keys).build();
    plexus.device_networks(&[("vf", VF), ("common", VF), ("own", VF)]);
    plexus.daemon.restart();
    let select = |pod: &str| plexus_e2e::Pod::new(pod).with_networks("vf");
    let replaced = select("b").annotated("v1.multus-cni.io/default-network", "own");
    for (pod, default) in [(select("a"), "vf"), (replaced, "own")] {
        node.forget_calls();
        allocate(
            &kubelet,
            &pod.name,
            &["0000:03:02.2", "0000:03:02.1", "0000:03:02.0"],
        );
        let target = plexus.target(&pod);
        plexus.runtime.add(&target).result();
        let add = [
            format!("ADD {default} eth0"),
            "ADD common net1".to_owned(),
            "ADD vf net2".to_owned(),
        ];
        assert_eq!(plexus.calls(), add);
        let expected = ["eth0", "net1", "net2"].map(str::to_owned).into_iter();
        let expected = expected.zip([0, 1, 2].map(|id| json!(format!("0000:03:02.{id}"))));
        assert_eq!(devices(&plexus, "ADD"), expected.collect());
    }
    assert_eq!(kubelet.methods(), ["Get", "Get"]);
}

#[test]
fn without_a_kubelet_the_pod_or_the_definition_has_to_name_the_device() {
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.device_networks(&[("vf", VF), ("named", VF), ("empty", "")]);
    let named = json!({"cniVersion": "1.0.0", "type": "named", "pciBusID": "0000:04:00.2"});
    plexus.manifests.device_definition("named", VF, &named);
    let (_sandbox, target) = plexus.sandbox("refused", "vf");
    let output = plexus.runtime.add(&target);
    output.expect_error(
        111,
        &["\"default/vf\"", VF, "kubelet.sock", "set kubeletDir"],
    );
    assert_eq!(plexus.calls(), [""; 0]);
    let networks =
        r#"[{"name": "vf", "deviceID": "0000:04:00.1"}, {"name": "named"}, {"name": "empty"}]"#;
    plexus.attached("pod", networks);
    let configs: Vec<_> = plexus
        .calls_of("ADD")
        .iter()
        .map(PluginCall::config)
        .collect();
    let device = |index: usize, key: &str| configs[index].get(key).and_then(Value::as_str);
    assert_eq!(device(1, "deviceID"), Some("0000:04:00.1"));
    assert_eq!(device(2, "pciBusID"), Some("0000:04:00.2"));
    assert_eq!(device(3, "deviceID"), None);
}

#[test]
fn a_pod_with_too_few_devices_is_refused_before_any_plugin_runs() {
    rows!("D-035");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("vf", VF), ("other", VF)]);
    allocate(&kubelet, "pod", &["0000:03:02.0"]);
    let (sandbox, target) = plexus.sandbox("pod", "vf, other");
    let output = plexus.runtime.add(&target);
    let parts = ["default/pod", "\"default/other\"", VF, "need 2", "have 1"];
    output.expect_error(111, &parts);
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);

    // A device that the pod names is enough.
    let named = r#"[{"name": "vf"}, {"name": "other", "deviceID": "0000:04:00.1"}]"#;
    let (_sandbox, target) = plexus.sandbox("named", named);
    allocate(&kubelet, "named", &["0000:03:02.0"]);
    plexus.runtime.add(&target).result();
    assert_eq!(devices(&plexus, "ADD")["net2"], "0000:04:00.1");
}

#[test]
fn a_resource_that_only_steers_the_scheduler_needs_no_device() {
    let node = node!();
    node.real_plugins(&or_skip!(plugin_dir(&["bridge"])), &["bridge"]);
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    kubelet.has_devices([Device::new(VF, "0000:03:02.0")]);
    allocate(&kubelet, "pod", &[]);
    let bridge = json!({"cniVersion": "0.3.1", "type": "bridge", "bridge": "br1", "ipam": {}});
    let marker = "bridge.network.kubevirt.io/br1";
    plexus
        .manifests
        .device_definition("bridge", marker, &bridge);
    let (sandbox, target) = plexus.attached("pod", "bridge");
    assert!(sandbox.link("net1").is_some());
    let log = plexus.daemon.log();
    assert!(!log.contains(" WARN "), "{log}");
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn the_error_of_a_plugin_without_its_device_names_the_resource() {
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    kubelet.has_devices([Device::new(VF, "0000:03:02.0")]);
    let failing = attaches().fails("ADD", 120, "a PCI address is required");
    plexus.device_networks(&[("misspelt", "example.com/fv"), ("vf", VF)]);
    for plugin in ["misspelt", "vf"] {
        node.plugin(plugin, &failing);
    }
    let hint =
        "the definition names the resource \"example.com/fv\", of which this node has no devices";
    for (pod, networks, has_hint) in [
        ("a", "misspelt", true),
        ("b", "vf", false),
        (
            "c",
            r#"[{"name": "misspelt", "deviceID": "0000:04:00.1"}]"#,
            false,
        ),
    ] {
        allocate(&kubelet, pod, &["0000:03:02.0"]);
        let (_sandbox, target) = plexus.sandbox(pod, networks);
        let output = plexus.runtime.add(&target);
        let message = output.expect_code(120);
        assert!(message.contains("a PCI address is required"), "{message}");
        assert_eq!(message.contains(hint), has_hint, "{message}");
    }
}
