//! Kubelet's pod-resources API.

use std::path::PathBuf;

use plexus_api::rows;
use plexus_e2e::daemon::Container as Isolation;
use plexus_e2e::kubelet::{Container, Device, Faults, GetSupport, Pod};
use plexus_e2e::{Plexus, metric, node};
use serde_json::json;

use super::{VF, add, devices, pod, without_get};
use crate::assert_error;

#[test]
fn each_network_of_a_pod_gets_a_device_and_kubelet_is_asked_once() {
    rows!("D-030", "D-040", "D-044");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.networks(&["plain"]);
    plexus.device_networks(&[("a", VF), ("b", VF), ("c", VF)]);
    kubelet.run(pod("none", &["x"]));
    add(&plexus, "none", "plain").result();
    assert_eq!(kubelet.methods(), [""; 0], "no network has a resource");
    kubelet.run(pod("one", &["v1"]));
    add(&plexus, "one", "plain,a").result();
    assert_eq!(kubelet.methods(), ["Get"]);
    let [first, second] = ["c1", "c2"].map(Container::new);
    let [v2, v3, v4] = ["v2", "v3", "v4"].map(|id| Device::new(VF, id));
    let three = Pod::new("default", "three").with(first.device(v4));
    kubelet.run(three.with(second.device(v3).device(v2)));
    add(&plexus, "three", "b,c,a").result();
    assert_eq!(kubelet.methods(), ["Get", "Get"]);
    assert_eq!(kubelet.calls()[1].pod.as_deref(), Some("default/three"));
    assert_eq!(devices(&plexus), ["a v1", "b v2", "c v3", "a v4"]);
}

#[test]
fn a_kubelet_without_get_is_asked_for_a_list_until_it_is_upgraded() {
    rows!("D-041", "D-042");
    for get in [GetSupport::Unimplemented, GetSupport::Disabled] {
        let node = node!();
        let (mut kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
        kubelet.set_faults(Faults {
            get,
            ..Faults::default()
        });
        plexus.device_networks(&[("a", VF)]);
        let of_other_namespace = Container::new("app").device(Device::new(VF, "w"));
        kubelet.run(Pod::new("other", "p").with(of_other_namespace));
        kubelet.run(pod("p", &["v1"]));
        kubelet.run(pod("q", &["v2"]));
        add(&plexus, "p", "a").result();
        add(&plexus, "q", "a").result();
        assert_eq!(kubelet.methods(), ["Get", "List", "List"], "{get:?}");
        assert_eq!(devices(&plexus), ["a v1", "a v2"]);
        kubelet.set_faults(Faults::default());
        kubelet.restart();
        add(&plexus, "p", "a").result();
        assert_eq!(kubelet.methods()[3..], ["Get"], "{get:?}");
    }
}

#[test]
fn a_device_on_two_numa_nodes_is_one_device() {
    rows!("D-043");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF), ("b", VF)]);
    let numa = |id| Device::new(VF, id).on_numa_nodes(&[0, 1]);
    let one = Container::new("app").device(numa("v1"));
    kubelet.run(Pod::new("default", "two").with(one.clone().device(numa("v2"))));
    add(&plexus, "two", "a,b").result();
    assert_eq!(devices(&plexus), ["a v1", "b v2"]);
    kubelet.run(Pod::new("default", "one").with(one));
    assert_error(&add(&plexus, "one", "a,b"), 111, &[VF, "need 2", "have 1"]);
}

#[test]
fn the_devices_of_a_sidecar_count_and_those_of_other_init_containers_are_not_reported() {
    rows!("D-045");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    kubelet.has_devices([Device::new(VF, "d1")]);
    plexus.device_networks(&[("a", VF)]);
    let sidecar = Container::new("sidecar").device(Device::new(VF, "d1"));
    let app = Container::new("app");
    kubelet.run(
        Pod::new("default", "sidecar")
            .with(sidecar)
            .with(app.clone()),
    );
    add(&plexus, "sidecar", "a").result();
    assert_eq!(devices(&plexus), ["a d1"]);
    kubelet.run(Pod::new("default", "init").with(app));
    assert_error(&add(&plexus, "init", "a"), 111, &[VF, "need 1", "have 0"]);
}

#[test]
fn a_pod_without_devices_is_refused_at_once_if_the_node_has_some() {
    rows!("D-052", "D-035");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF)]);
    kubelet.run(pod("p", &[]));
    for has_devices in [false, true] {
        // Without an answer about the node, the resource is assumed to have devices.
        if has_devices {
            kubelet.has_devices([Device::new(VF, "v1")]);
        }
        let before = kubelet.methods().len();
        assert_error(&add(&plexus, "p", "a"), 111, &[VF, "need 1", "have 0"]);
        assert_eq!(
            kubelet.methods()[before..],
            ["Get", "GetAllocatableResources"]
        );
    }
}

#[test]
fn a_resource_without_any_device_on_the_node_needs_none() {
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    kubelet.has_devices([Device::new(VF, "v1")]);
    let marker = "bridge.network.kubevirt.io/br1";
    plexus.device_networks(&[("a", VF), ("marked", marker)]);
    kubelet.run(pod("p", &["v1"]));
    let (sandbox, _) = plexus.attached("p", "marked,a");
    assert!(sandbox.link("net1").is_some() && sandbox.link("net2").is_some());
    assert_eq!(devices(&plexus), ["a v1"]);
    assert_eq!(kubelet.methods(), ["Get", "GetAllocatableResources"]);
}

#[test]
fn answers_of_up_to_16_mib_are_read() {
    rows!("D-047");
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF)]);
    kubelet.run(pod("p", &["v1"]));
    let answer_with = |mib: usize| {
        kubelet.set_faults(Faults {
            get: GetSupport::Unimplemented,
            list_size: mib << 20,
            ..Faults::default()
        });
    };
    answer_with(6);
    add(&plexus, "p", "a").result();
    assert_eq!(devices(&plexus), ["a v1"]);
    answer_with(17);
    let socket = kubelet.socket().display().to_string();
    assert_error(
        &add(&plexus, "p", "a"),
        11,
        &[&socket, "List: ", "more than 16 MiB"],
    );
    assert_eq!(kubelet.methods(), ["Get", "List", "List"], "no retry");
}

#[test]
fn the_socket_is_found_where_the_runtime_has_it() {
    rows!("D-040");
    let node = node!();
    let kubelet = node.kubelet();
    let default = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    let keys = json!({
        "clusterNetwork": null, "delegates": [default], "mountNamespace": "caller",
    });
    let isolation = Isolation {
        hidden: vec![kubelet.dir().to_owned(), PathBuf::from("/run/netns")],
        ..Isolation::default()
    };
    let plexus = Plexus::on(&node).config(keys).container(isolation).start();
    plexus.device_networks(&[("a", VF)]);
    kubelet.run(pod("p", &["v1"]));
    add(&plexus, "p", "a").result();
    assert_eq!(devices(&plexus), ["a v1"]);
}

#[test]
fn queries_are_logged_and_counted() {
    let node = node!();
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(&node));
    plexus.device_networks(&[("a", VF), ("b", VF)]);
    kubelet.run(pod("p", &["v1", "v2"]));
    without_get(&kubelet);
    add(&plexus, "p", "a,b").result();
    let metrics = plexus.daemon.metrics();
    for (method, code) in [("Get", "Unimplemented"), ("List", "Ok")] {
        let series =
            format!("plexus_kubelet_requests_total{{code=\"{code}\",method=\"{method}\"}}");
        assert_eq!(metric::<u64>(&metrics, &series), 1, "{series}");
        let series =
            format!("plexus_kubelet_request_duration_seconds_count{{method=\"{method}\"}}");
        assert_eq!(metric::<u64>(&metrics, &series), 1, "{series}");
    }
    let log = plexus.daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("read the devices of the pod"));
    let line = line.unwrap_or_else(|| panic!("no line in\n{log}"));
    for part in [
        "default/p",
        "source=\"pod-resources\"",
        VF,
        "devices=2",
        "duration_ms=",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}
