//! The subresource `status`.

use serde_json::{Value, json};

use crate::support::{DEFINITIONS, PODS, definition, install_crd, pod_on, server};

#[test]
fn a_status_patch_can_set_annotations() {
    let (server, client) = server();
    let created = server.create(&pod_on("a", "n1"));
    let path = format!("{PODS}/a/status");
    let patch = json!({
        "metadata": {"uid": created["metadata"]["uid"], "annotations": {"k8s.v1.cni.cncf.io/network-status": "[]"}},
        "spec": {"nodeName": "n2", "hostname": "other"},
        "status": {"phase": "Running"},
    });
    let response = client.merge_patch(&path, &patch).expect("response");
    assert_eq!(response.code, 200);
    let pod = response.json();
    assert_eq!(
        pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"],
        "[]"
    );
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(
        (&pod["spec"]["nodeName"], &pod["spec"]["hostname"]),
        (&json!("n1"), &Value::Null),
        "the spec is unchanged"
    );
    assert_eq!(
        pod["metadata"]["resourceVersion"],
        server.resource_version().to_string()
    );
    // A patch of the pod does not change the status.
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
fn a_status_patch_with_another_uid_is_refused() {
    let (server, client) = server();
    server.create(&pod_on("a", "n1"));
    let before = server.resource_version();
    let patch = json!({"metadata": {"uid": "other", "annotations": {"a": "b"}}});
    let response = client
        .merge_patch(&format!("{PODS}/a/status"), &patch)
        .expect("response");
    assert_eq!(
        (response.code, response.json()),
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
    let response = client
        .merge_patch(&format!("{PODS}/none/status"), &patch)
        .expect("response");
    assert_eq!(
        (response.code, response.json()),
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
fn a_custom_resource_has_a_status_only_if_its_crd_declares_one() {
    let (server, client) = server();
    install_crd(&server);
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
    // The status endpoint of a custom resource changes nothing except the status.
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
