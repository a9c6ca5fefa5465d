//! Pods that started while the runtime did not use Plexus.

use plexus_apiserver::{Effect, Fault};
use plexus_e2e::plexus_in_cluster::{TIMEOUT, USER};
use plexus_e2e::{Cluster, PlexusInCluster, Pod, node, server};
use serde_json::{Value, json};

/// Creates a pod on the node of `plexus` that selects the network `a` and is in `phase`.
fn create_pod(
    plexus: &PlexusInCluster<'_>,
    name: &str,
    host_network: bool,
    phase: &str,
    mut annotations: Value,
) {
    annotations["k8s.v1.cni.cncf.io/networks"] = json!("a");
    let path = format!("/api/v1/namespaces/{}/pods", plexus.namespace.name());
    let body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "nodeName": plexus.node_name,
            "hostNetwork": host_network,
            "containers": [{"name": "main", "image": "registry.invalid/none"}],
        },
    });
    let client = plexus.cluster.client();
    let created = client.post(&path, &body).expect("a response");
    assert_eq!(created.code, 201, "{}", created.text);
    let status = json!({"status": {"phase": phase}});
    let patched = client.merge_patch(&format!("{path}/{name}/status"), &status);
    assert_eq!(patched.expect("a response").code, 200);
}

#[test]
fn a_running_pod_without_its_networks_gets_one_event_and_other_pods_get_none() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"recoveryInterval": "20ms", "goneGap": "50ms", "metricsAddress": ""});
    let mut plexus = PlexusInCluster::build(PlexusInCluster::on(&node).config(keys), &cluster);
    plexus.define("a");
    // Pods that started before Plexus and have the same metadata.
    create_pod(&plexus, "without", false, "Running", json!({}));
    create_pod(&plexus, "in-host", true, "Running", json!({}));
    create_pod(&plexus, "pending", false, "Pending", json!({}));
    create_pod(&plexus, "ended", false, "Succeeded", json!({}));
    let status = json!({"k8s.v1.cni.cncf.io/network-status": "[]"});
    create_pod(&plexus, "by-multus", false, "Running", status);
    // A pod that Plexus attaches.
    plexus.daemon.restart();
    let attached = plexus.pod(&Pod::new("attached").with_networks("a"));
    assert!(plexus.add(&plexus.runtime, &attached).0.ok());
    // The daemon reads each pod once, and those that may still start twice.
    server.wait(TIMEOUT, |entries| {
        let reads = |name: &str| {
            entries
                .iter()
                .filter(|entry| entry.user == USER && entry.matches("get", "pods"))
                .filter(|entry| entry.finished.is_some())
                .filter(|entry| entry.uri.ends_with(&format!("/{name}")))
                .count()
        };
        ["without", "in-host", "by-multus"]
            .iter()
            .all(|name| reads(name) >= 1)
            && ["pending", "ended"].iter().all(|name| reads(name) >= 2)
    });
    let event = plexus
        .namespace
        .wait_for_event("without", |event| event["reason"] == "NetworksMissing");
    assert_eq!(
        (&event["type"], &event["count"]),
        (&json!("Warning"), &json!(1))
    );
    for name in ["in-host", "pending", "ended", "by-multus", "attached"] {
        let events = plexus.namespace.events(name);
        assert!(
            events
                .iter()
                .all(|event| event["reason"] != "NetworksMissing"),
            "{name}: {events:#?}"
        );
    }
    assert_eq!(plexus.namespace.events("without").len(), 1);
    let metrics = plexus.daemon.metrics();
    assert!(
        metrics.contains("plexus_pods_without_networks 1\n"),
        "{metrics}"
    );
}

#[test]
fn a_pod_that_cannot_be_read_does_not_hide_the_others() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"recoveryInterval": "20ms", "goneGap": "50ms"});
    let mut plexus = PlexusInCluster::build(PlexusInCluster::on(&node).config(keys), &cluster);
    plexus.define("a");
    for (name, code) in [("refused-0", 403), ("refused-1", 403), ("broken", 500)] {
        create_pod(&plexus, name, false, "Running", json!({}));
        let fault = Fault::new("get", "pods", Effect::Error(code));
        server.fault(fault.of_user(USER).of_name(name));
    }
    let others = ["without-0", "without-1", "without-2"];
    for name in others {
        create_pod(&plexus, name, false, "Running", json!({}));
    }
    plexus.daemon.restart();
    for name in others {
        plexus
            .namespace
            .wait_for_event(name, |event| event["reason"] == "NetworksMissing");
    }
}
