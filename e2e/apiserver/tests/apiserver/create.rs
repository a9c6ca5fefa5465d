//! Create, and paths that do not exist.

use plexus_apiserver::network_attachment_definition_crd;
use serde_json::{Value, json};

use crate::support::{DEFINITIONS, PODS, expect_error, install_crd, pod, server};

/// A pod with another value at a JSON pointer.
fn pod_with(pointer: &str, value: Value) -> Value {
    let mut body = pod("b");
    *body.pointer_mut(pointer).expect("existing field") = value;
    body
}

#[test]
fn the_server_sets_metadata_and_status() {
    let (_server, client) = server();
    let mut body = pod("a");
    body["metadata"]["uid"] = "mine".into();
    body["status"] = json!({"phase": "Running"});
    let created = client.post(PODS, &body).expect("response");
    assert_eq!(created.code, 201);
    let object = created.json();
    let metadata = &object["metadata"];
    assert_eq!(metadata["uid"].as_str().map(str::len), Some(36));
    assert!(
        metadata["creationTimestamp"]
            .as_str()
            .is_some_and(|time| time.len() == 20 && time.ends_with('Z'))
    );
    assert!(
        metadata["resourceVersion"]
            .as_str()
            .is_some_and(|version| version.parse::<u64>().is_ok())
    );
    assert_eq!(
        object["status"]["phase"], "Pending",
        "clients cannot create the status"
    );
    let mut body = pod("");
    body["metadata"] = json!({"generateName": "gen-"});
    let names = [(); 2]
        .map(|()| client.post(PODS, &body).expect("response").json()["metadata"]["name"].clone());
    assert!(names.iter().all(|name| {
        name.as_str()
            .is_some_and(|name| name.len() == 9 && name.starts_with("gen-"))
    }));
    assert_ne!(names[0], names[1]);
}

#[test]
fn an_invalid_object_is_refused_with_the_message_of_kubernetes() {
    let (server, client) = server();
    server.create(&pod("a"));
    let long = "x".repeat(256 * 1024);
    for (body, code, reason, text) in [
        (pod("a"), 409, "AlreadyExists", "pods \"a\" already exists"),
        (
            pod_with("/metadata/namespace", json!("kube-system")),
            400,
            "BadRequest",
            "does not match the namespace",
        ),
        (
            pod_with("/metadata/name", Value::Null),
            422,
            "Invalid",
            "name or generateName is required",
        ),
        (
            pod_with("/metadata/name", json!("Up_")),
            422,
            "Invalid",
            "RFC 1123",
        ),
        (
            pod_with("/spec/containers", json!([])),
            422,
            "Invalid",
            "spec.containers: Required value",
        ),
        (
            pod_with("/kind", json!("Node")),
            400,
            "BadRequest",
            "cannot be handled as a Pod",
        ),
        (
            pod_with("/apiVersion", json!("v2")),
            400,
            "BadRequest",
            "does not match the expected API version",
        ),
        (
            pod_with("/metadata", json!({"name": "b", "annotations": {"k": 1}})),
            400,
            "BadRequest",
            "cannot unmarshal number",
        ),
        (
            pod_with(
                "/metadata",
                json!({"name": "b", "annotations": {"k": long}}),
            ),
            422,
            "Invalid",
            "Too long",
        ),
    ] {
        let response = client.post(PODS, &body).expect("response");
        expect_error(&response, code, reason, text);
    }
    assert_eq!(server.list("pods").len(), 1, "nothing was created");
}

#[test]
fn a_malformed_request_is_refused() {
    let (server, client) = server();
    let post = |path: &str, body: &Value| client.post(path, body).expect("response");
    expect_error(
        &post(
            "/api/v1/namespaces/none/pods",
            &pod_with("/metadata/namespace", Value::Null),
        ),
        404,
        "NotFound",
        "namespaces \"none\" not found",
    );
    for path in [&format!("{PODS}/b"), "/api/v1/pods"] {
        expect_error(&post(path, &pod("b")), 405, "MethodNotAllowed", "");
    }
    let huge = pod_with("/metadata/name", json!("x".repeat(4 << 20)));
    expect_error(&post(PODS, &huge), 413, "RequestEntityTooLarge", "");
    let send = |media_type: &str, body: &[u8]| {
        client
            .send("POST", PODS, &[], Some((media_type, body)))
            .expect("response")
    };
    expect_error(
        &send("application/vnd.kubernetes.protobuf", b"k8s\0"),
        415,
        "UnsupportedMediaType",
        "accepted media types",
    );
    expect_error(&send("application/json", b"{"), 400, "BadRequest", "");
    assert_eq!(server.list("pods").len(), 0, "nothing was created");
}

#[test]
fn an_unknown_path_is_answered_in_plain_text() {
    let (server, client) = server();
    for path in [
        DEFINITIONS.to_owned(),
        "/apis/k8s.cni.cncf.io/v1".into(),
        "/api/v1/nothings".into(),
        "/api/v2/pods".into(),
        "/api/v1/pods/a".into(),
        "/api/v1/namespaces/default/nodes".into(),
        format!("{PODS}/a/nothing"),
        "/nothing".into(),
    ] {
        let response = client.get(&path).expect("response");
        assert_eq!(
            (response.code, response.text.as_str()),
            (404, "404 page not found\n"),
            "{path}"
        );
    }
    install_crd(&server);
    let response = client
        .get(&format!("{DEFINITIONS}/none"))
        .expect("response");
    expect_error(
        &response,
        404,
        "NotFound",
        "network-attachment-definitions.k8s.cni.cncf.io \"none\" not found",
    );
    assert_eq!(
        response.json()["details"],
        json!({"name": "none", "group": "k8s.cni.cncf.io", "kind": "network-attachment-definitions"})
    );
    expect_error(
        &client.get(&format!("{PODS}/none")).expect("response"),
        404,
        "NotFound",
        "pods \"none\" not found",
    );
}

#[test]
fn a_crd_must_be_named_after_its_resource() {
    let (_server, client) = server();
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let mut wrong = network_attachment_definition_crd();
    wrong["metadata"]["name"] = "nets.example.com".into();
    expect_error(
        &client.post(path, &wrong).expect("response"),
        422,
        "Invalid",
        "must be spec.names.plural",
    );
    let created = client
        .post(path, &network_attachment_definition_crd())
        .expect("response")
        .json();
    assert_eq!(
        created["status"]["acceptedNames"]["kind"],
        "NetworkAttachmentDefinition"
    );
    assert_eq!(client.get(DEFINITIONS).expect("response").code, 200);
}
