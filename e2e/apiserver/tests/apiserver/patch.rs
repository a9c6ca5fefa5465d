//! Patches of every media type.

use plexus_apiserver::{ApiServer, Client, ClientResponse};
use serde_json::{Value, json};

use crate::support::{
    DEFINITIONS, PODS, definition, expect_error, install_crd, patch, pod, server as empty_server,
};

const MERGE: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// A server with the annotated pod `a` and the definition `n`.
fn server() -> (ApiServer, Client) {
    let (server, client) = empty_server();
    install_crd(&server);
    let mut body = pod("a");
    body["metadata"]["annotations"] = json!({"keep": "1", "drop": "1"});
    server.create(&body);
    server.create(&definition("n"));
    (server, client)
}

fn patch_pod(client: &Client, media_type: &str, body: &Value) -> ClientResponse {
    patch(client, &format!("{PODS}/a"), media_type, body)
}

fn patch_definition(client: &Client, media_type: &str, body: &Value) -> ClientResponse {
    patch(client, &format!("{DEFINITIONS}/n"), media_type, body)
}

#[test]
fn patches_of_each_type_are_applied() {
    let (_server, client) = server();
    let annotations =
        |response: &ClientResponse| response.json()["metadata"]["annotations"].clone();
    let merged = patch_pod(
        &client,
        MERGE,
        &json!({"metadata": {"annotations": {"drop": null, "new": "2"}}}),
    );
    assert_eq!(annotations(&merged), json!({"keep": "1", "new": "2"}));
    let operations = json!([
        {"op": "test", "path": "/metadata/annotations/new", "value": "2"},
        {"op": "add", "path": "/metadata/annotations/a~1b", "value": "3"},
        {"op": "remove", "path": "/metadata/annotations/new"},
    ]);
    assert_eq!(
        annotations(&patch_pod(&client, JSON_PATCH, &operations)),
        json!({"keep": "1", "a/b": "3"})
    );
    expect_error(
        &patch_pod(&client, JSON_PATCH, &operations),
        422,
        "Invalid",
        "the server rejected our request due to an error in our request",
    );
    let annotate = json!({"metadata": {"annotations": {"s": "4"}}});
    assert_eq!(
        annotations(&patch_pod(&client, STRATEGIC, &annotate))["s"],
        "4"
    );
    let config = json!({"spec": {"config": "{\"a\":1}"}});
    let definition = patch_definition(&client, MERGE, &config).json();
    assert_eq!(
        (
            &definition["spec"]["config"],
            &definition["metadata"]["generation"]
        ),
        (&json!("{\"a\":1}"), &json!(2))
    );
}

#[test]
fn unsupported_media_types_are_refused() {
    let (_server, client) = server();
    let annotate = json!({"metadata": {"annotations": {"s": "4"}}});
    let lists = json!({"spec": {"containers": [{"name": "main", "image": "new"}]}});
    for (media_type, body) in [
        (STRATEGIC, &lists),
        ("application/apply-patch+yaml", &annotate),
        ("application/json", &annotate),
    ] {
        let response = patch_pod(&client, media_type, body);
        expect_error(&response, 415, "UnsupportedMediaType", "");
    }
    expect_error(
        &patch_definition(&client, STRATEGIC, &annotate),
        415,
        "UnsupportedMediaType",
        "merge-patch+json",
    );
}

#[test]
fn a_patch_must_match_the_stored_object() {
    let (_server, client) = server();
    let annotate = json!({"metadata": {"annotations": {"s": "4"}}});
    expect_error(
        &patch(&client, &format!("{PODS}/none"), MERGE, &annotate),
        404,
        "NotFound",
        "pods \"none\" not found",
    );
    let stale = json!({"metadata": {"resourceVersion": "2", "annotations": {"x": "1"}}});
    expect_error(
        &patch_pod(&client, MERGE, &stale),
        409,
        "Conflict",
        "the object has been modified",
    );
    expect_error(
        &patch_definition(&client, MERGE, &json!({"metadata": {"uid": "other"}})),
        422,
        "Invalid",
        "metadata.uid: Invalid value: \"other\": field is immutable",
    );
    for body in [json!({"metadata": {"name": "b"}}), json!([])] {
        let response = patch_pod(&client, MERGE, &body);
        expect_error(&response, 400, "BadRequest", "");
    }
}

#[test]
fn a_json_patch_removes_a_taint_only_at_the_tested_index() {
    let (server, client) = empty_server();
    let taints = json!([{"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "NoExecute"}]);
    server.create(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "spec": {"taints": taints, "podCIDR": "c"},
    }));
    let remove = |index: usize, key: &str| {
        let operations = json!([
            {"op": "test", "path": format!("/spec/taints/{index}/key"), "value": key},
            {"op": "remove", "path": format!("/spec/taints/{index}")},
        ]);
        patch(&client, "/api/v1/nodes/n", JSON_PATCH, &operations)
    };
    // Another taint has this index, or none.
    for (index, key) in [(0, "b"), (2, "b")] {
        expect_error(&remove(index, key), 422, "Invalid", "");
    }
    assert_eq!(
        server.get("nodes", "", "n").expect("node")["spec"]["taints"],
        taints
    );
    assert_eq!(
        remove(0, "a").json()["spec"]["taints"],
        json!([{"key": "b", "effect": "NoExecute"}])
    );
    assert_eq!(remove(0, "b").json()["spec"], json!({"podCIDR": "c"}));
    expect_error(&remove(0, "b"), 422, "Invalid", "");
}
