//! The subresource `status`, as the daemon writes it.

use serde_json::{Value, json};

use crate::support::{DEFINITIONS, PODS, definition, pod_on, server, with_definitions};

#[test]
fn annotations_can_be_merged_through_the_status() {
    let (server, client) = server();
    let made = server.create(&pod_on("a", "n1"));
    let path = format!("{PODS}/a/status");
    let patch = json!({
        "metadata": {"uid": made["metadata"]["uid"], "annotations": {"k8s.v1.cni.cncf.io/network-status": "[]"}},
        "spec": {"nodeName": "n2", "hostname": "other"},
        "status": {"phase": "Running"},
    });
    let answer = client.merge_patch(&path, &patch).expect("response");
    assert_eq!(answer.code, 200);
    let pod = answer.json();
    assert_eq!(
        pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"],
        "[]"
    );
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(
        (&pod["spec"]["nodeName"], &pod["spec"]["hostname"]),
        (&json!("n1"), &Value::Null),
        "the spec stays"
    );
    assert_eq!(
        pod["metadata"]["resourceVersion"],
        server.resource_version().to_string()
    );
    // And the other way round.
    let pod = client
        .merge_patch(
            &format!("{PODS}/a"),
            &json!({"status": {"phase": "Failed"}}),
        )
        .expect("response")
        .json();
    assert_eq!(pod["status"]["phase"], "Running");
}

#[test]
fn the_status_of_another_pod_of_that_name_is_refused() {
    let (server, client) = server();
    server.create(&pod_on("a", "n1"));
    let before = server.resource_version();
    let patch = json!({"metadata": {"uid": "other", "annotations": {"a": "b"}}});
    let answer = client
        .merge_patch(&format!("{PODS}/a/status"), &patch)
        .expect("response");
    assert_eq!(
        (answer.code, answer.json()),
        (
            422,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid",
                "code": 422,
                "message": "Pod \"a\" is invalid: metadata.uid: Invalid value: \"other\": field is immutable",
                "details": {"name": "a", "kind": "Pod", "causes": [{
                    "reason": "FieldValueInvalid", "field": "metadata.uid",
                    "message": "Invalid value: \"other\": field is immutable",
                }]},
            })
        )
    );
    assert_eq!(server.resource_version(), before, "nothing was written");
    let answer = client
        .merge_patch(&format!("{PODS}/none/status"), &patch)
        .expect("response");
    assert_eq!(
        (answer.code, answer.json()),
        (
            404,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound",
                "code": 404, "message": "pods \"none\" not found", "details": {"name": "none", "kind": "pods"},
            })
        )
    );
}

#[test]
fn a_custom_resource_has_a_status_only_where_its_definition_says_so() {
    let (server, client) = server();
    with_definitions(&server);
    server.create(&definition("n"));
    assert_eq!(
        client
            .get(&format!("{DEFINITIONS}/n/status"))
            .expect("response")
            .code,
        404
    );
    server.create(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}}],
        },
    }));
    server
        .create(&json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": 1}}));
    let patch =
        json!({"metadata": {"annotations": {"x": "y"}}, "spec": {"a": 2}, "status": {"b": 3}});
    let thing = client
        .merge_patch("/apis/example.com/v1/things/t/status", &patch)
        .expect("response")
        .json();
    // Of a custom resource nothing but the status is written there.
    assert_eq!(
        (&thing["status"]["b"], &thing["spec"]["a"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(thing["metadata"].get("annotations"), None);
    let thing = client
        .merge_patch("/apis/example.com/v1/things/t", &patch)
        .expect("response")
        .json();
    assert_eq!(
        (&thing["spec"]["a"], &thing["metadata"]["annotations"]["x"]),
        (&json!(2), &json!("y"))
    );
}
