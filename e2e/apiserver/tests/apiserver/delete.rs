//! Delete: grace periods, preconditions, finalizers, and collections.

use plexus_apiserver::Client;
use serde_json::{Value, json};

use crate::support::{
    DEFINITIONS, PODS, definition, expect_error, install_crd, pod, pod_on, server,
};

fn delete(client: &Client, path: &str) -> Value {
    client.delete(path).expect("response").json()
}

#[test]
fn a_pod_that_runs_on_a_node_has_a_grace_period() {
    let (server, client) = server();
    server.create(&pod_on("a", "n1"));
    let path = format!("{PODS}/a");
    let options = json!({"preconditions": {"uid": "other"}});
    let refused = client
        .send_json("DELETE", &path, "application/json", &options)
        .expect("response");
    expect_error(
        &refused,
        409,
        "Conflict",
        "the UID in the precondition (other)",
    );
    let terminating = delete(&client, &path);
    assert_eq!(terminating["metadata"]["deletionGracePeriodSeconds"], 30);
    assert!(terminating["metadata"]["deletionTimestamp"].is_string());
    // As the kubelet does at the end.
    let removed = client
        .delete(&format!("{path}?gracePeriodSeconds=0"))
        .expect("response");
    assert_eq!(
        (removed.code, &removed.json()["kind"]),
        (200, &json!("Pod"))
    );
    expect_error(
        &client.delete(&path).expect("response"),
        404,
        "NotFound",
        "",
    );
    // A pod without a node has no kubelet to wait for.
    server.create(&pod("b"));
    delete(&client, &format!("{PODS}/b"));
    assert_eq!(server.get("pods", "default", "b"), None);
}

#[test]
fn an_object_with_finalizers_is_removed_after_the_last_one() {
    let (server, client) = server();
    install_crd(&server);
    let mut with_finalizer = definition("n");
    with_finalizer["metadata"]["finalizers"] = json!(["example.com/held"]);
    server.create(&with_finalizer);
    let path = format!("{DEFINITIONS}/n");
    let code = || client.get(&path).expect("response").code;
    assert!(delete(&client, &path)["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(code(), 200);
    client
        .merge_patch(&path, &json!({"metadata": {"finalizers": null}}))
        .expect("response");
    assert_eq!(code(), 404);
    server.create(&definition("n"));
    let status = delete(&client, &path);
    assert_eq!(
        (&status["kind"], &status["status"]),
        (&json!("Status"), &json!("Success"))
    );
}

#[test]
fn a_collection_and_a_namespace_are_deleted_at_once() {
    let (server, client) = server();
    install_crd(&server);
    for name in ["a", "b", "c"] {
        server.create(&pod(name));
    }
    let deleted = client
        .delete(&format!("{PODS}?fieldSelector=metadata.name!%3Db"))
        .expect("response");
    assert_eq!(
        (deleted.code, &deleted.json()["kind"]),
        (200, &json!("PodList"))
    );
    assert_eq!(server.list("pods").len(), 1);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}});
    assert_eq!(
        client
            .post("/api/v1/namespaces", &namespace)
            .expect("response")
            .code,
        201
    );
    for mut object in [pod_on("a", "n1"), definition("n")] {
        object["metadata"]["namespace"] = "other".into();
        server.create(&object);
    }
    delete(&client, "/api/v1/namespaces/other");
    assert_eq!(
        (
            server.list("pods").len(),
            server
                .list("network-attachment-definitions.k8s.cni.cncf.io")
                .len()
        ),
        (1, 0)
    );
}
