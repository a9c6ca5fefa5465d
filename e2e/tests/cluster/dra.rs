//! Devices of claims: dynamic resource allocation (DRA).

mod problems;
mod sharing;

use plexus_api::rows;
use plexus_apiserver::ApiServer;
use plexus_e2e::kubelet::{self, Claim, Container, Device};
use plexus_e2e::plexus_in_cluster::{TIMEOUT, USER};
use plexus_e2e::{Cluster, Node, PlexusInCluster, Pod, attaches, node, server};
use serde_json::{Value, json};

use crate::rules;

const VF: &str = "example.com/vf";
const DRIVER: &str = "nic.example.com";
const POOL: &str = "rack-1";
const CLAIMS: &str = "resourceclaims";
const SLICES: &str = "resourceslices";
/// The rights of the component.
const COMPONENT: &str = "deploy/components/dra/access.yaml";

/// Starts Plexus with DRA, and with the rights of its manifests.
fn start<'n>(node: &'n Node, cluster: &'n Cluster, server: &ApiServer) -> PlexusInCluster<'n> {
    start_with(node, cluster, server, json!({}))
}

/// The same with `keys` merged into the configuration.
fn start_with<'n>(
    node: &'n Node,
    cluster: &'n Cluster,
    server: &ApiServer,
    keys: Value,
) -> PlexusInCluster<'n> {
    let rights = ["deploy/node/access.yaml", COMPONENT].map(rules).concat();
    server.restrict(USER, rights);
    let builder = PlexusInCluster::on(node)
        .config(json!({"dra": "on"}))
        .config(keys);
    let mut plexus = PlexusInCluster::build(builder, cluster);
    plexus.daemon.restart();
    plexus.wait_watches();
    plexus
}

/// Waits until both watches of slices are established.
fn wait_slice_watches(server: &ApiServer) {
    server.wait(TIMEOUT, |entries| {
        let watches = entries.iter().filter(|entry| {
            entry.user == USER && entry.matches("watch", SLICES) && entry.code == Some(200)
        });
        watches.count() == 2
    });
}

/// Creates definitions of [`VF`] with scripted plugins.
fn device_networks(plexus: &PlexusInCluster<'_>, server: &ApiServer, names: &[&str]) {
    for name in names {
        plexus.node.plugin(name, &attaches());
        let config = json!({"cniVersion": "1.0.0", "type": name}).to_string();
        let mut definition = plexus.definition(name, &json!(config));
        definition["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/resourceName": VF});
        server.create(&definition);
    }
}

/// A device with its attributes for networks.
fn network_device(name: &str, resource: &str, id: &str) -> Value {
    json!({"name": name, "attributes": {
        "k8s.cni.cncf.io/resourceName": {"string": resource},
        "k8s.cni.cncf.io/deviceID": {"string": id},
        "linkSpeed": {"string": "100G"},
    }})
}

/// A GPU, which is not for networks.
fn gpu(name: &str) -> Value {
    json!({"name": name, "attributes": {"model": {"string": "g"}}})
}

/// A slice of all nodes.
fn slice(name: &str, generation: u64, devices: &[Value]) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": name},
        "spec": {
            "driver": DRIVER, "allNodes": true, "devices": devices,
            "pool": {"name": POOL, "generation": generation, "resourceSliceCount": 1},
        },
    })
}

/// A claim with these devices, as `request` and name of a device. `None`: without an allocation.
fn claim(namespace: &str, name: &str, devices: Option<&[(&str, &str)]>) -> Value {
    let result = |(request, device): &(&str, &str)| allocated(request, device);
    let results = devices.map(|devices| devices.iter().map(result).collect());
    claim_with(namespace, name, results)
}

/// The result of an allocation.
fn allocated(request: &str, device: &str) -> Value {
    json!({"request": request, "driver": DRIVER, "pool": POOL, "device": device})
}

fn claim_with(namespace: &str, name: &str, results: Option<Vec<Value>>) -> Value {
    let allocation = results.map(|results| json!({"devices": {"results": results}}));
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"devices": {"requests": [{"name": "nic", "exactly": {"deviceClassName": "nics"}}]}},
        "status": {"allocation": allocation},
    })
}

/// Creates a pod of this node with `networks` and these fields in its spec and status.
fn pod(
    plexus: &PlexusInCluster<'_>,
    server: &ApiServer,
    name: &str,
    networks: &str,
    fields: &Value,
) -> Pod {
    let pod = Pod::new(name).with_networks(networks);
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": plexus.namespace.name(), "annotations": pod.annotations,
        },
        "spec": {
            "nodeName": plexus.node_name, "containers": [{"name": "main", "image": "registry.invalid/none"}],
        },
    });
    for (section, value) in fields.as_object().expect("sections") {
        for (key, value) in value.as_object().expect("fields") {
            object[section][key] = value.clone();
        }
    }
    let created = server.apply(&object);
    let uid = created["metadata"]["uid"].as_str().expect("a UID");
    pod.in_namespace(plexus.namespace.name()).with_uid(uid)
}

/// A pod that names these claims.
fn pod_with_claims(
    plexus: &PlexusInCluster<'_>,
    server: &ApiServer,
    name: &str,
    networks: &str,
    claims: &[&str],
) -> Pod {
    let claims: Vec<_> = claims
        .iter()
        .map(|claim| json!({"name": claim, "resourceClaimName": claim}))
        .collect();
    let fields = json!({"spec": {"resourceClaims": claims}});
    pod(plexus, server, name, networks, &fields)
}

/// Creates a pod with the network `a` and the claim `c`, which has the device `vf-0`.
fn pod_with_vf(plexus: &PlexusInCluster<'_>, server: &ApiServer) -> Pod {
    let devices = Some(&[("nic", "vf-0")][..]);
    server.apply(&claim(plexus.namespace.name(), "c", devices));
    pod_with_claims(plexus, server, "p", "a", &["c"])
}

/// Waits until the claim of a pod has been read.
fn wait_claim_read(server: &ApiServer) {
    server.wait(TIMEOUT, |entries| {
        entries
            .iter()
            .any(|entry| entry.matches("get", CLAIMS) && entry.finished.is_some())
    });
}

/// The devices that the plugins of the networks got at `operation`, as `NETWORK DEVICE`.
fn devices(plexus: &PlexusInCluster<'_>, operation: &str) -> Vec<String> {
    let calls = plexus.calls_of(operation).into_iter();
    let device = |config: Value| config["deviceID"].as_str().map(str::to_owned);
    calls
        .filter_map(|call| Some(format!("{} {}", call.plugin, device(call.config())?)))
        .collect()
}

#[test]
fn claims_that_kubelet_reports_need_no_request() {
    rows!("D-060", "D-061", "D-063", "D-064", "D-067");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let kubelet = node.kubelet();
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a", "b", "c"]);
    let of_pool = [
        network_device("vf-0", VF, "0000:18:02.3"),
        network_device("vf-1", VF, "0000:18:02.1"),
        gpu("gpu-0"),
    ];
    server.create(&slice("s", 1, &of_pool));
    let namespace = plexus.namespace.name();
    let shared = Claim::new(namespace, "mixed", DRIVER, POOL, &["vf-0", "gpu-0", "vf-1"]);
    let [first, second] = ["c1", "c2"].map(|name| Container::new(name).claim(shared.clone()));
    let device = Device::new(VF, "0000:18:02.2");
    kubelet.run(
        kubelet::Pod::new(namespace, "p")
            .with(first.device(device))
            .with(second),
    );
    let pod = pod_with_claims(&plexus, server, "p", "a,b,c", &["mixed"]);
    wait_slice_watches(server);
    plexus.add(&plexus.runtime, &pod).0.result();
    assert_eq!(
        devices(&plexus, "ADD"),
        ["a 0000:18:02.1", "b 0000:18:02.2", "c 0000:18:02.3"]
    );
    assert_eq!(kubelet.methods(), ["Get"]);
    let reads = ["pods", CLAIMS].map(|resource| plexus.count("get", resource));
    assert_eq!(reads, [0, 0]);
}

#[test]
fn claims_of_templates_and_named_claims_are_read_without_a_kubelet() {
    rows!("D-062", "D-065");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a", "b"]);
    let namespace = plexus.namespace.name();
    let old = [
        network_device("vf-0", VF, "old"),
        network_device("vf-1", VF, "old"),
    ];
    server.create(&slice("old", 1, &old));
    let new = [
        network_device("vf-0", VF, "v0"),
        network_device("vf-1", VF, "v1"),
    ];
    server.create(&slice("new", 2, &new));
    server.apply(&claim(namespace, "direct", Some(&[("nic", "vf-1")])));
    server.apply(&claim(namespace, "p-made-x", Some(&[("nic", "vf-0")])));
    let fields = json!({
        "spec": {"resourceClaims": [
            {"name": "one", "resourceClaimName": "direct"},
            {"name": "two", "resourceClaimTemplateName": "template"},
            {"name": "three", "resourceClaimTemplateName": "template"},
        ]},
        "status": {"resourceClaimStatuses": [{"name": "two", "resourceClaimName": "p-made-x"}, {"name": "three"}]},
    });
    let pod = pod(&plexus, server, "p", "a,b", &fields);
    wait_slice_watches(server);
    let sandbox = node.sandbox("p");
    plexus.runtime.add(&sandbox.target(&pod)).result();
    assert_eq!(devices(&plexus, "ADD"), ["a v0", "b v1"]);
    assert_eq!(
        (plexus.count("get", "pods"), plexus.count("get", CLAIMS)),
        (1, 2)
    );
    // DEL uses the devices of ADD, and reads nothing.
    let before = plexus.reads();
    plexus.runtime.del(&sandbox.target(&pod)).expect_success();
    assert_eq!(devices(&plexus, "DEL"), ["b v1", "a v0"]);
    assert_eq!(plexus.reads(), before);
}

#[test]
fn a_slice_of_another_node_is_not_watched() {
    rows!("D-065");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a"]);
    let of_node = |name: &str, node: &str, generation: u64, id: &str| {
        let mut slice = slice(name, generation, &[network_device("vf-0", VF, id)]);
        let spec = slice["spec"].as_object_mut().expect("a spec");
        spec.remove("allNodes");
        spec.insert("nodeName".into(), json!(node));
        server.create(&slice);
    };
    // The newer generation would win.
    of_node("other", "another-node", 2, "wrong");
    of_node("own", &plexus.node_name, 1, "v0");
    let pod = pod_with_vf(&plexus, server);
    plexus.add(&plexus.runtime, &pod).0.result();
    assert_eq!(devices(&plexus, "ADD"), ["a v0"]);
}

#[test]
fn add_waits_for_a_slice_that_the_watch_has_not_delivered() {
    rows!("D-065");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a"]);
    let pod = pod_with_vf(&plexus, server);
    wait_slice_watches(server);
    let running = plexus.runtime.start("ADD", &plexus.target(&pod));
    wait_claim_read(server);
    server.create(&slice("s", 1, &[network_device("vf-0", VF, "v0")]));
    running.wait().result();
    assert_eq!(devices(&plexus, "ADD"), ["a v0"]);
}

#[test]
fn without_dra_nothing_is_watched_or_read() {
    rows!("D-069");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    server.restrict(USER, rules("deploy/node/access.yaml"));
    let kubelet = node.kubelet();
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.wait_watches();
    device_networks(&plexus, server, &["a"]);
    let namespace = plexus.namespace.name();
    server.create(&slice("s", 1, &[network_device("vf-0", VF, "v0")]));
    server.apply(&claim(namespace, "c", Some(&[("nic", "vf-0")])));
    let reported = Claim::new(namespace, "c", DRIVER, POOL, &["vf-0"]);
    let container = Container::new("main").claim(reported);
    kubelet.run(kubelet::Pod::new(namespace, "p").with(container));
    kubelet.has_devices([Device::new(VF, "other")]);
    let pod = pod_with_claims(&plexus, server, "p", "a", &["c"]);
    let (output, _) = plexus.add(&plexus.runtime, &pod);
    output.expect_error(111, &["too few devices"]);
    let of_dra = |entry: &plexus_apiserver::AuditEntry| {
        entry.user == USER && entry.path.group == "resource.k8s.io"
    };
    let requests = plexus.requests();
    assert_eq!(requests.iter().filter(|entry| of_dra(entry)).count(), 0);
}
