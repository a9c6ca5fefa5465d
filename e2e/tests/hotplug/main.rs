//! Changes of the networks of running pods.

mod changes;
mod kills;

use plexus_e2e::{Cluster, CniTarget, Node, PlexusInCluster, Pod, Sandbox};
use serde_json::{Value, json};

const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// Starts Plexus with hot-plug.
fn start<'n>(node: &'n Node, cluster: &'n Cluster) -> PlexusInCluster<'n> {
    PlexusInCluster::start_with(node, cluster, json!({"hotplug": "on"}))
}

/// An attached pod.
struct Attached<'n> {
    sandbox: Sandbox<'n>,
    target: CniTarget,
}

/// Creates a pod with these networks and attaches its sandbox.
fn attach<'n>(plexus: &PlexusInCluster<'n>, name: &str, networks: &str) -> Attached<'n> {
    let mut pod = Pod::new(name);
    if !networks.is_empty() {
        pod = pod.with_networks(networks);
    }
    let pod = plexus.pod(&pod);
    let sandbox = plexus.node.sandbox(name);
    let target = sandbox.target(&pod);
    plexus.runtime.add(&target).result();
    Attached { sandbox, target }
}

/// Changes the annotation of a running pod; `null` removes it.
fn annotate(plexus: &PlexusInCluster<'_>, name: &str, networks: impl Into<Value>) {
    let networks: Value = networks.into();
    plexus
        .namespace
        .annotate_pod(name, &json!({NETWORKS: networks}));
}

/// Waits until the network-status of a pod has these interfaces. Returns its entries.
fn wait_interfaces(plexus: &PlexusInCluster<'_>, name: &str, interfaces: &[&str]) -> Vec<Value> {
    wait_status(plexus, name, |entries| {
        let names = entries.iter().map(|entry| entry["interface"].as_str());
        names.eq(interfaces.iter().copied().map(Some))
    })
}

/// Waits until the network-status of a pod satisfies `condition`. Returns its entries.
fn wait_status(
    plexus: &PlexusInCluster<'_>,
    name: &str,
    condition: impl Fn(&[Value]) -> bool,
) -> Vec<Value> {
    let entries = |pod: &Value| -> Vec<Value> {
        let text = pod["metadata"]["annotations"][STATUS].as_str();
        serde_json::from_str(text.unwrap_or("[]")).expect("a list")
    };
    let pod = plexus
        .namespace
        .wait_for_pod(name, |pod| condition(&entries(pod)));
    entries(&pod)
}

/// The summaries of the plugin calls for a sandbox.
fn calls(attached: &Attached<'_>, plexus: &PlexusInCluster<'_>) -> Vec<String> {
    let calls = plexus.node.calls_for(&attached.target.container);
    calls.iter().map(plexus_e2e::PluginCall::summary).collect()
}
