//! Tests of the test cluster itself, in memory or real.

use plexus_apiserver::{Client, Kubeconfig};
use plexus_e2e::{Cluster, Pod, node};
use serde_json::json;

#[test]
fn a_namespace_has_pods_definitions_and_events() {
    let cluster = Cluster::new();
    let node = Cluster::made_up_node();
    let namespace = cluster.namespace();
    namespace.definition("net", &json!({"cniVersion": "1.0.0", "type": "bridge"}));
    let pod = namespace.pod(&Pod::new("p").with_networks("net"), &node);
    assert_eq!(
        (pod.namespace.as_str(), pod.uid.len()),
        (namespace.name(), 36)
    );
    let found = namespace.get_pod("p").expect("pod");
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
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Any", "type": "Normal",
        "involvedObject": {"kind": "Pod", "namespace": namespace.name(), "name": "p", "uid": pod.uid},
    });
    let path = format!("/api/v1/namespaces/{}/events", namespace.name());
    assert_eq!(
        cluster.client().post(&path, &event).expect("response").code,
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
fn dropping_a_namespace_deletes_its_pods() {
    let cluster = Cluster::new();
    let namespace = cluster.namespace();
    let name = namespace.name().to_owned();
    namespace.pod(&Pod::new("p"), &Cluster::made_up_node());
    drop(namespace);
    let pods = cluster
        .client()
        .get(&format!("/api/v1/namespaces/{name}/pods"))
        .expect("response")
        .json();
    assert_eq!(pods["items"], json!([]));
    let left = cluster
        .client()
        .get(&format!("/api/v1/namespaces/{name}"))
        .expect("response");
    assert!(
        left.code == 404 || left.json()["metadata"]["deletionTimestamp"].is_string(),
        "{}",
        left.text
    );
}

#[test]
fn a_node_can_reach_the_api_server() {
    let node = node!();
    let cluster = Cluster::new();
    let path = cluster.kubeconfig(&node);
    let config = Kubeconfig::read(&path).expect("kubeconfig");
    let response = node.run(|| {
        Client::new(&config)
            .expect("valid credentials")
            .get("/api/v1/nodes")
    });
    assert_eq!(response.expect("response").code, 200);
}
