//! Changes of the networks of running pods.

mod api_server;
mod changes;
mod controller;
mod delegate;
mod delegate_faults;
mod delegate_rules;
mod disk;
mod elements;
mod failing_plugins;
mod interrupted;
mod kills;
mod many;
mod program;
mod sandboxes;

use std::collections::BTreeSet;

use plexus_e2e::json::with_keys;
use plexus_e2e::leftovers::{LEDGER, record_path};
use plexus_e2e::{Cluster, CniTarget, Node, NodeWatch, PlexusInCluster, Pod, Sandbox};
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

/// Waits until the last entry of a pod's network-status is about this network.
fn wait_last_network(plexus: &PlexusInCluster<'_>, pod: &str, network: &str) {
    let name = format!("{}/{network}", plexus.namespace.name());
    wait_status(plexus, pod, |entries| {
        entries.last().is_some_and(|entry| entry["name"] == name)
    });
}

/// Waits until the record of a sandbox has exactly these interfaces, with results, and says that
/// network-status is written. Then compares network-status, links, plugin calls and files.
fn wait_settled(
    plexus: &PlexusInCluster<'_>,
    pod: &str,
    attached: &Attached<'_>,
    interfaces: &[&str],
) {
    let record = record_path(&attached.target);
    NodeWatch::new(plexus.node, &[LEDGER]).wait_while(|| {
        let text = plexus.node.try_read(&record).unwrap_or_default();
        (!is_settled(&text, interfaces)).then_some(text)
    });
    wait_interfaces(plexus, pod, interfaces);
    let links: BTreeSet<_> = attached.sandbox.link_names().into_iter().collect();
    let expected = interfaces.iter().chain(&["lo"]);
    assert_eq!(links, expected.map(|name| (*name).to_owned()).collect());
    // Each attachment with one more ADD than DELs is attached.
    let mut by_plugins: BTreeSet<String> = BTreeSet::new();
    for call in plexus.node.calls_for(&attached.target.container) {
        let ifname = call.env("CNI_IFNAME").to_owned();
        match call.operation.as_str() {
            "ADD" => assert!(by_plugins.insert(ifname), "attached twice: {call:?}"),
            "DEL" => _ = by_plugins.remove(&ifname),
            _ => {}
        }
    }
    let expected = interfaces.iter().map(|name| (*name).to_owned());
    assert_eq!(by_plugins, expected.collect());
    let files = plexus.node.list(LEDGER);
    assert!(files.iter().all(|file| !file.starts_with('.')), "{files:?}");
}

/// Whether a record has exactly these interfaces, all of them attached, and nothing is left to do.
fn is_settled(record: &str, interfaces: &[&str]) -> bool {
    let mut lines = record.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line
    });
    let plan = lines.next().unwrap_or_default();
    let attachments = plan["planned"]["attachments"].as_array();
    let planned = attachments.into_iter().flatten();
    let is_same = planned
        .map(|attachment| attachment["ifname"].as_str())
        .eq(interfaces.iter().copied().map(Some));
    let (mut added, mut is_written) = (BTreeSet::new(), false);
    for line in lines {
        if !line["detaching"].is_null() || !line["deleted"].is_null() {
            return false;
        }
        added.extend(line["added"]["index"].as_u64());
        is_written |= line == "statusWritten";
    }
    is_same && is_written && added.len() == interfaces.len()
}

/// Waits for an event about a pod with this reason, whose message contains `text`.
fn wait_event(plexus: &PlexusInCluster<'_>, pod: &str, reason: &str, text: &str) {
    plexus.namespace.wait_for_event(pod, |event| {
        let message = event["message"].as_str().unwrap_or_default();
        event["reason"] == reason && message.contains(text)
    });
}

/// Starts Plexus with hot-plug and these keys, and creates definitions with scripted plugins.
fn start_with<'n>(
    node: &'n Node,
    cluster: &'n Cluster,
    keys: Value,
    networks: &[&str],
) -> PlexusInCluster<'n> {
    let keys = with_keys(json!({"hotplug": "on", "logLevel": "debug"}), keys);
    let plexus = PlexusInCluster::start_with(node, cluster, keys);
    for network in networks {
        plexus.define(network);
    }
    plexus
}

/// The summaries of the plugin calls for a sandbox.
fn calls(attached: &Attached<'_>, plexus: &PlexusInCluster<'_>) -> Vec<String> {
    let calls = plexus.node.calls_for(&attached.target.container);
    calls.iter().map(plexus_e2e::PluginCall::summary).collect()
}
