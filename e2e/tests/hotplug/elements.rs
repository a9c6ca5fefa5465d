//! What an element of the annotation of a running pod may ask for.

use plexus_api::rows;
use plexus_e2e::kubelet::{Container, Device, Pod as KubeletPod};
use plexus_e2e::leftovers::record_path;
use plexus_e2e::{Cluster, PlexusInCluster, attaches, metric, node};
use serde_json::{Value, json};

use super::{
    annotate, attach, calls, start_with, wait_event, wait_interfaces, wait_last_network,
    wait_settled,
};

const VF: &str = "example.com/vf";

/// The number of rounds with this outcome. Without one, there is no series.
fn rounds(plexus: &PlexusInCluster<'_>, outcome: &str) -> u64 {
    let series = format!("plexus_hotplug_rounds_total{{outcome=\"{outcome}\"}}");
    metric(&plexus.daemon.metrics(), &series)
}

#[test]
fn a_refused_element_is_reported_once_and_the_others_are_attached() {
    rows!("K-095");
    let (node, cluster) = (node!(), Cluster::new());
    let keys = json!({
        "namespaceIsolation": true, "allowedPluginTypes": ["main", "a", "b", "multus"],
    });
    let plexus = start_with(&node, &cluster, keys, &["a", "b", "forbidden"]);
    let meta = json!({"cniVersion": "1.0.0", "type": "multus"});
    plexus.namespace.definition("meta", &meta);
    for (index, (element, reason, text)) in [
        (
            json!({"name": "b", "default-route": ["10.1.2.1"]}),
            "InvalidNetworks",
            "default-route",
        ),
        (
            json!({"name": "b", "interface": "eth0"}),
            "InvalidNetworks",
            "taken by",
        ),
        (
            json!({"name": "b", "interface": "lo"}),
            "InvalidNetworks",
            "\"lo\"",
        ),
        (
            json!({"name": "b", "interface": "own"}),
            "InvalidNetworks",
            "a link in the sandbox",
        ),
        (json!({"name": "meta"}), "InvalidNetworkConfig", "multus"),
        (
            json!({"name": "forbidden"}),
            "NetworkForbidden",
            "allowedPluginTypes",
        ),
        (
            json!({"name": "b", "namespace": "elsewhere"}),
            "",
            "elsewhere",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("p{index}");
        let pod = attach(&plexus, &name, "");
        pod.sandbox.ip("link add own type bridge");
        let before = rounds(&plexus, "refused");
        let networks = json!([element, {"name": "a", "interface": "data0"}]);
        annotate(&plexus, &name, networks.to_string());
        wait_interfaces(&plexus, &name, &["eth0", "data0"]);
        plexus.namespace.wait_for_event(&name, |event| {
            let message = event["message"].as_str().unwrap_or_default();
            let is_reason = reason.is_empty() || event["reason"] == reason;
            is_reason && event["type"] == "Warning" && message.contains(text)
        });
        assert_eq!(calls(&pod, &plexus), ["ADD main eth0", "ADD a data0"]);
        // The round that follows each ADD may start after the change of the annotation.
        let refused = rounds(&plexus, "refused") - before;
        assert!((1..=2).contains(&refused), "{refused}: {element}");
        plexus.runtime.check(&pod.target).expect_success();
        plexus.runtime.del(&pod.target).expect_success();
        plexus.namespace.remove_pod(&name);
    }
    // Nothing was retried.
    assert!(rounds(&plexus, "refused") <= 2 * 7);
    assert_eq!(rounds(&plexus, "failed"), 0);
}

#[test]
fn of_two_elements_with_the_same_interface_the_first_one_is_attached() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    let pod = attach(&plexus, "web", "");
    annotate(&plexus, "web", "a@x,b@x");
    wait_settled(&plexus, "web", &pod, &["eth0", "x"]);
    wait_event(&plexus, "web", "InvalidNetworks", "\"x\"");
    // Once the first one is gone, the name is free.
    annotate(&plexus, "web", "b@x");
    wait_last_network(&plexus, "web", "b");
    wait_settled(&plexus, "web", &pod, &["eth0", "x"]);
    assert_eq!(calls(&pod, &plexus)[1..], ["ADD a x", "DEL a x", "ADD b x"]);
}

#[test]
fn an_invalid_annotation_changes_nothing_until_it_is_corrected() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    let pod = attach(&plexus, "web", "a");
    let many = vec!["a"; 65].join(",");
    for (invalid, text) in [
        ("b,,a", "item 2"),
        ("[{\"name\": \"b\"", "keeps its networks"),
        (many.as_str(), "65 networks"),
    ] {
        annotate(&plexus, "web", invalid);
        wait_event(&plexus, "web", "InvalidNetworks", text);
    }
    assert_eq!(calls(&pod, &plexus), ["ADD main eth0", "ADD a net1"]);
    annotate(&plexus, "web", "b");
    wait_last_network(&plexus, "web", "b");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1"]);
    assert_eq!(calls(&pod, &plexus)[2..], ["DEL a net1", "ADD b net1"]);
}

#[test]
fn virtual_machines_gain_and_lose_interfaces_with_the_names_that_kubevirt_gives() {
    rows!("K-095");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["lan"]);
    let pod = attach(&plexus, "virt-launcher-vm", "");
    let name = "virt-launcher-vm";
    let namespace = plexus.namespace.name().to_owned();
    let element = |interface: &str, mac: &str| {
        json!({
            "name": "lan", "namespace": namespace, "interface": interface, "mac": mac,
            "cni-args": {"kubevirt.io/logic": interface},
        })
    };
    let (first, second) = (
        element("pod16477688c0e", "02:00:00:00:00:01"),
        element("podb1f51a511f1", "02:00:00:00:00:02"),
    );
    let ask = |elements: &[&Value]| annotate(&plexus, name, json!(elements).to_string());
    ask(&[&first]);
    wait_settled(&plexus, name, &pod, &["eth0", "pod16477688c0e"]);
    ask(&[&second, &first]);
    let both = ["eth0", "pod16477688c0e", "podb1f51a511f1"];
    wait_settled(&plexus, name, &pod, &both);
    let configs = plexus.node.calls_for(&pod.target.container);
    let config = configs.last().expect("a call").config();
    assert_eq!(config["args"]["cni"]["kubevirt.io/logic"], "podb1f51a511f1");
    // Another order is no change, and other parameters take no effect.
    let before = calls(&pod, &plexus);
    let changed = element("pod16477688c0e", "02:00:00:00:00:09");
    ask(&[&changed, &second]);
    wait_event(&plexus, name, "NetworkChangeIgnored", "pod16477688c0e");
    assert_eq!(calls(&pod, &plexus), before);
    ask(&[&second]);
    wait_settled(&plexus, name, &pod, &["eth0", "podb1f51a511f1"]);
    assert_eq!(
        calls(&pod, &plexus).last().unwrap(),
        "DEL lan pod16477688c0e"
    );
}

#[test]
fn of_two_elements_without_a_name_the_later_attachment_is_detached() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["lan", "other"]);
    let pod = attach(&plexus, "web", "lan,other,lan");
    annotate(&plexus, "web", "other,lan,lan");
    annotate(&plexus, "web", "other,lan");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net2"]);
    assert_eq!(calls(&pod, &plexus)[4..], ["DEL lan net3"]);
}

/// Creates a definition with a scripted plugin of the same name, whose pods get a device.
fn define(plexus: &PlexusInCluster<'_>, network: &str, resource: &str) {
    plexus.node.plugin(network, &attaches());
    let config = json!({"cniVersion": "1.0.0", "type": network}).to_string();
    let mut definition = plexus.definition(network, &json!(config));
    definition["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/resourceName": resource});
    let path = format!(
        "/apis/k8s.cni.cncf.io/v1/namespaces/{}/network-attachment-definitions",
        plexus.namespace.name()
    );
    let created = plexus.cluster.client().post(&path, &definition);
    created
        .and_then(|created| created.success())
        .expect("a definition");
}

#[test]
fn devices_that_are_not_known_yet_are_asked_for_again() {
    let (node, cluster) = (node!(), Cluster::new());
    let keys = json!({"kubeletDir": node.kubelet_dir()});
    let plexus = start_with(&node, &cluster, keys, &["a"]);
    define(&plexus, "vf", VF);
    let pod = attach(&plexus, "web", "");
    annotate(&plexus, "web", "vf,a");
    wait_settled(&plexus, "web", &pod, &["eth0", "net2"]);
    wait_event(&plexus, "web", "AttachFailed", "are not known");
    let kubelet = node.kubelet();
    let container = Container::new("main").device(Device::new(VF, "0000:03:02.1"));
    kubelet.run(KubeletPod::new(plexus.namespace.name(), "web").with(container));
    wait_settled(&plexus, "web", &pod, &["eth0", "net2", "net1"]);
}

#[test]
fn a_running_pod_gets_the_devices_that_its_networks_do_not_use_yet() {
    rows!("D-033", "D-035");
    let node = node!();
    let (kubelet, cluster) = (node.kubelet(), Cluster::new());
    let keys = json!({"kubeletDir": node.kubelet_dir()});
    let plexus = start_with(&node, &cluster, keys, &[]);
    define(&plexus, "vf", VF);
    define(&plexus, "marker", "bridge.network.kubevirt.io/br1");
    let ids = ["0000:03:02.1", "0000:03:02.2"];
    kubelet.has_devices(ids.map(|id| Device::new(VF, id)));
    let container = ids.iter().fold(Container::new("main"), |container, id| {
        container.device(Device::new(VF, id))
    });
    kubelet.run(KubeletPod::new(plexus.namespace.name(), "web").with(container));
    let pod = attach(&plexus, "web", "vf");
    annotate(&plexus, "web", "vf,vf,vf,marker");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net2", "net4"]);
    wait_event(
        &plexus,
        "web",
        "DeviceMissing",
        "use all its devices of the resource",
    );
    wait_event(&plexus, "web", "DeviceMissing", "create the pod again");
    let devices: Vec<_> = plexus
        .calls_of("ADD")
        .iter()
        .map(|call| call.config()["deviceID"].clone())
        .collect();
    let [first, second] = ids.map(Value::from);
    assert_eq!(devices, [Value::Null, first, second, Value::Null]);
    // A device that the annotation names, but no device of another network.
    let element = |device: &str| json!([{"name": "vf"}, {"name": "vf"}, {"name": "marker"}, {"name": "vf", "interface": "named", "deviceID": device}]);
    annotate(&plexus, "web", element(ids[0]).to_string());
    plexus.namespace.wait_for_event("web", |event| {
        event["reason"] == "DeviceMissing" && event["count"].as_u64() > Some(1)
    });
    annotate(&plexus, "web", element("0000:04:00.1").to_string());
    wait_settled(
        &plexus,
        "web",
        &pod,
        &["eth0", "net1", "net2", "net4", "named"],
    );
    // A device that is free again.
    annotate(&plexus, "web", "");
    wait_settled(&plexus, "web", &pod, &["eth0"]);
    annotate(&plexus, "web", "vf@again");
    wait_settled(&plexus, "web", &pod, &["eth0", "again"]);
}

#[test]
fn the_record_of_an_older_version_can_be_changed_and_stays_readable_for_it() {
    let (node, cluster) = (node!(), Cluster::new());
    let mut plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    let pod = attach(&plexus, "web", "a@data0,a");
    plexus.daemon.kill();
    let path = record_path(&pod.target);
    let record = node.read(&path);
    let (plan, lines) = record.split_once('\n').expect("lines");
    let mut plan: Value = serde_json::from_str(plan).expect("JSON");
    let attachments = plan["planned"]["attachments"]
        .as_array_mut()
        .expect("a list");
    for attachment in attachments {
        let attachment = attachment.as_object_mut().expect("an object");
        for key in ["parametersDigest", "interfaceRequested", "origin"] {
            attachment.remove(key);
        }
    }
    plan["planned"]
        .as_object_mut()
        .expect("an object")
        .remove("revision");
    node.write(&path, format!("{plan}\n{lines}"));
    plexus.daemon.restart();
    annotate(&plexus, "web", "a@data0,b");
    wait_settled(&plexus, "web", &pod, &["eth0", "data0", "net1"]);
    assert_eq!(calls(&pod, &plexus)[3..], ["DEL a net2", "ADD b net1"]);
    let record = node.read(&path);
    let plan: Value = serde_json::from_str(record.lines().next().expect("a line")).expect("JSON");
    assert_eq!(plan["planned"]["format"], 1);
    plexus.runtime.del(&pod.target).expect_success();
}
