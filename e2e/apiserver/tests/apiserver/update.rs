//! Update: preconditions and immutable fields.

use serde_json::{Value, json};

use crate::support::{DEFINITIONS, PODS, definition, expect_error, install_crd, pod, server};

#[test]
fn an_update_must_match_the_stored_object() {
    let (server, client) = server();
    let first = server.create(&pod("a"));
    let path = format!("{PODS}/a");
    let put = |body: &Value| client.put(&path, body).expect("response");
    let with = |field: &str, value: Value| {
        let mut body = first.clone();
        body["metadata"][field] = value;
        body
    };
    let second = put(&with("labels", json!({"x": "1"})));
    assert_eq!(
        (second.code, &second.json()["metadata"]["labels"]["x"]),
        (200, &json!("1"))
    );
    let stale = with("labels", json!({"x": "2"}));
    expect_error(
        &put(&stale),
        409,
        "Conflict",
        "the object has been modified",
    );
    let mut unchanged = second.json();
    unchanged["metadata"]["resourceVersion"].take();
    let third = put(&unchanged).json();
    assert_eq!(
        third["metadata"]["resourceVersion"],
        second.json()["metadata"]["resourceVersion"],
        "nothing changed"
    );
    expect_error(
        &put(&with("uid", json!("other"))),
        409,
        "Conflict",
        "Precondition failed: UID in precondition: other",
    );
    expect_error(
        &put(&with("name", json!("b"))),
        400,
        "BadRequest",
        "does not match the name on the URL",
    );
    let mut moved = second.json();
    moved["spec"]["nodeName"] = "n1".into();
    expect_error(
        &put(&moved),
        422,
        "Invalid",
        "pod updates may not change fields",
    );
    let missing = client
        .put(&format!("{PODS}/none"), &pod("none"))
        .expect("response");
    expect_error(&missing, 404, "NotFound", "");
}

#[test]
fn an_update_of_a_custom_resource_needs_a_resource_version() {
    let (server, client) = server();
    install_crd(&server);
    server.create(&definition("n"));
    let response = client
        .put(&format!("{DEFINITIONS}/n"), &definition("n"))
        .expect("response");
    expect_error(&response, 422, "Invalid", "must be specified for an update");
}
