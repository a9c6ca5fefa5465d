//! The cluster of a test, in memory or a real one.

use plexus_apiserver::{Client, Kubeconfig};
use plexus_e2e::{Cluster, Pod, node};
use serde_json::json;

#[test]
fn pods_definitions_and_events_can_be_created_in_a_namespace() {
    let cluster = Cluster::new();
    let node = Cluster::random_node_name();
    let namespace = cluster.namespace();
    namespace.definition("net", &json!({"cniVersion": "1.0.0", "type": "bridge"}));
    let pod = namespace.pod(&Pod::new("p").with_networks("net"), &node);
    assert_eq!(
        (pod.namespace.as_str(), pod.uid.len()),
        (namespace.name(), 36)
    );
    let found = namespace.get_pod("p").expect("the pod");
    assert_eq!(found["spec"]["nodeName"], node);
    assert_eq!(
        found["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"],
        "net"
    );
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| namespace.wait_for_annotation("p", "answer"));
        namespace.annotate_pod("p", &json!({"answer": "42"}));
        assert_eq!(waiting.join().expect("no panic"), "42");
    });
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Any",
        "type": "Normal",
        "involvedObject": {"kind": "Pod", "namespace": namespace.name(), "name": "p", "uid": pod.uid},
    });
    let path = format!("/api/v1/namespaces/{}/events", namespace.name());
    assert_eq!(
        cluster
            .client()
            .post(&path, &event)
            .expect("a response")
            .code,
        201
    );
    assert_eq!(
        namespace.wait_for_event("p", |event| event["reason"] == "Any")["metadata"]["name"],
        "e"
    );
    assert_eq!(namespace.events("p").len(), 1);
    namespace.remove_definition("net");
    namespace.remove_pod("p");
    assert_eq!(namespace.get_pod("p"), None);
}

#[test]
fn dropping_a_namespace_deletes_it() {
    let cluster = Cluster::new();
    let namespace = cluster.namespace();
    let name = namespace.name().to_owned();
    namespace.pod(&Pod::new("p"), &Cluster::random_node_name());
    drop(namespace);
    let pods = cluster
        .client()
        .get(&format!("/api/v1/namespaces/{name}/pods"))
        .expect("a response")
        .json();
    assert_eq!(pods["items"], json!([]));
    let deleted = cluster
        .client()
        .get(&format!("/api/v1/namespaces/{name}"))
        .expect("a response");
    assert!(
        deleted.code == 404 || deleted.json()["metadata"]["deletionTimestamp"].is_string(),
        "{}",
        deleted.text
    );
}

#[test]
fn programs_on_a_node_reach_the_api_server() {
    let node = node!();
    let cluster = Cluster::new();
    let path = cluster.kubeconfig(&node);
    let config = Kubeconfig::read(&path).expect("read the kubeconfig");
    let response = node.run(|| Client::new(&config).expect("a client").get("/api/v1/nodes"));
    assert_eq!(response.expect("a response").code, 200);
}
