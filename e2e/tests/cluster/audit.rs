//! Pods that started while the runtime did not know of Plexus.

use plexus_e2e::{Cluster, Pod, node};
use serde_json::{Value, json};

use crate::bench::{Bench, PATIENCE, USER};
use crate::server;

/// Makes a pod on the node of `bench` that asks for the network `a` and is in `phase`.
fn pod(
    bench: &Bench<'_>,
    cluster: &Cluster,
    name: &str,
    host_network: bool,
    phase: &str,
    annotations: Value,
) -> String {
    let mut annotations = annotations;
    annotations["k8s.v1.cni.cncf.io/networks"] = json!("a");
    let path = format!("/api/v1/namespaces/{}/pods", bench.namespace.name());
    let body = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "nodeName": bench.name,
            "hostNetwork": host_network,
            "containers": [{"name": "main", "image": "registry.invalid/none"}],
        },
    });
    let made = cluster.client().post(&path, &body).expect("an answer");
    assert_eq!(made.code, 201, "{}", made.text);
    let patched = cluster.client().merge_patch(
        &format!("{path}/{name}/status"),
        &json!({"status": {"phase": phase}}),
    );
    assert_eq!(patched.expect("an answer").code, 200);
    format!("/api/v1/namespaces/{}/pods/{name}", bench.namespace.name())
}

#[test]
fn a_pod_that_started_without_us_is_told_once_and_others_are_not() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"recoveryInterval": "20ms", "goneGap": "50ms", "metricsAddress": ""});
    let mut bench = Bench::new(&node, &cluster, &keys);
    bench.define("a");
    // Given pods that started before Plexus, and look alike in their metadata.
    pod(&bench, &cluster, "without", false, "Running", json!({}));
    pod(&bench, &cluster, "in-host", true, "Running", json!({}));
    pod(&bench, &cluster, "waits", false, "Pending", json!({}));
    pod(&bench, &cluster, "ended", false, "Succeeded", json!({}));
    let status = json!({"k8s.v1.cni.cncf.io/network-status": "[]"});
    pod(&bench, &cluster, "by-multus", false, "Running", status);
    // And one that is attached when the daemon runs.
    bench.daemon.restart();
    let attached = bench.pod(&Pod::new("attached").with_networks("a"));
    assert!(bench.add(&bench.containerd, &attached).0.ok());
    // When the daemon has asked for all of them, and for those that may still start twice.
    server.wait(PATIENCE, |entries| {
        let asked = |name: &str| {
            let get = entries.iter().filter(|one| {
                one.user == USER && one.matches("get", "pods") && one.finished.is_some()
            });
            get.filter(|one| one.uri.ends_with(&format!("/{name}")))
                .count()
        };
        ["without", "in-host", "by-multus"]
            .iter()
            .all(|name| asked(name) >= 1)
            && ["waits", "ended"].iter().all(|name| asked(name) >= 2)
    });
    // Then one is told.
    let event = bench
        .namespace
        .wait_for_event("without", |event| event["reason"] == "NetworksMissing");
    assert_eq!(
        (&event["type"], &event["count"]),
        (&json!("Warning"), &json!(1))
    );
    for name in ["in-host", "waits", "ended", "by-multus", "attached"] {
        let events = bench.namespace.events(name);
        assert!(
            events
                .iter()
                .all(|event| event["reason"] != "NetworksMissing"),
            "{name}: {events:#?}"
        );
    }
    assert_eq!(bench.namespace.events("without").len(), 1);
    let metrics = || bench.daemon.get("/metrics").expect("an answer").body;
    assert!(
        metrics().contains("plexus_pods_without_networks 1\n"),
        "{}",
        metrics()
    );
}
