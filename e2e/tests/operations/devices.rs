//! The devices that kubelet has allocated to a pod.

use plexus_api::rows;
use plexus_e2e::kubelet::{Container, Device, Pod};
use plexus_e2e::{Plexus, node};

const VF: &str = "intel.com/sriov_vf";

/// A pod in the namespace `default` with a container that has these devices of [`VF`].
fn pod(name: &str, ids: &[&str]) -> Pod {
    let devices = ids.iter().map(|id| Device::new(VF, id));
    Pod::new("default", name).with(devices.fold(Container::new("app"), Container::device))
}

/// The devices that the plugins of a pod's networks got at `operation`, as `NETWORK DEVICE`.
fn devices(plexus: &Plexus<'_>, operation: &str) -> Vec<String> {
    let calls = plexus.calls_of(operation).into_iter();
    let device = |config: serde_json::Value| config["deviceID"].as_str().map(str::to_owned);
    calls
        .filter_map(|call| Some(format!("{} {}", call.plugin, device(call.config())?)))
        .collect()
}

#[test]
fn each_network_of_a_pod_gets_a_device_and_kubelet_is_asked_once() {
    rows!("D-030", "D-040", "D-044");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.networks(&["plain"]);
    plexus.device_networks(&[("a", VF), ("b", VF), ("c", VF)]);
    kubelet.run(pod("none", &["x"]));
    plexus.attached("none", "plain");
    assert_eq!(kubelet.methods(), [""; 0], "no network has a resource");
    kubelet.run(pod("one", &["v1"]));
    plexus.attached("one", "plain,a");
    assert_eq!(kubelet.methods(), ["Get"]);
    let [first, second] = ["c1", "c2"].map(Container::new);
    let (v2, v3, v4) = (
        Device::new(VF, "v2"),
        Device::new(VF, "v3"),
        Device::new(VF, "v4"),
    );
    let three = Pod::new("default", "three");
    kubelet.run(
        three
            .with(first.device(v4))
            .with(second.device(v3).device(v2)),
    );
    plexus.attached("three", "b,c,a");
    assert_eq!(kubelet.methods(), ["Get", "Get"]);
    assert_eq!(kubelet.calls()[1].pod.as_deref(), Some("default/three"));
    assert_eq!(devices(&plexus, "ADD"), ["a v1", "b v2", "c v3", "a v4"]);
}
