//! Events, in the APIs `v1` and `events.k8s.io/v1`.

use serde_json::{Value, json};

use crate::support::{expect_error, patch, server};

/// The path of the events of the namespace `default` in `events.k8s.io/v1`.
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";

/// An event about a pod in `events.k8s.io/v1`.
fn event() -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"generateName": "p-"},
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}, "note": "what happened",
        "type": "Normal", "reason": "AddedInterface", "action": "Add", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "plexusd", "reportingInstance": "n1",
    })
}

#[test]
fn both_apis_have_the_same_events() {
    let (_server, client) = server();
    assert_eq!(client.post(EVENTS, &event()).expect("response").code, 201);
    let core = client
        .get("/api/v1/events?fieldSelector=involvedObject.name%3Dp")
        .expect("response")
        .json();
    assert_eq!(
        (
            &core["items"][0]["message"],
            &core["items"][0]["reportingComponent"]
        ),
        (&json!("what happened"), &json!("plexusd"))
    );
    let list = client
        .get(&format!("{EVENTS}?fieldSelector=regarding.name%3Dp"))
        .expect("response")
        .json();
    assert_eq!(
        (
            &list["items"][0]["note"],
            &list["items"][0]["regarding"]["name"]
        ),
        (&json!("what happened"), &json!("p"))
    );
}

#[test]
fn an_invalid_event_is_refused() {
    let (_server, client) = server();
    for (field, value, text) in [
        ("eventTime", Value::Null, "eventTime: Required value"),
        ("reason", Value::Null, "reason: Required value"),
        ("note", json!("x".repeat(1025)), "at most 1024"),
        ("type", json!("Odd"), "type: Invalid value"),
        (
            "regarding",
            json!({"kind": "Pod", "namespace": "other", "name": "p"}),
            "does not match event.namespace",
        ),
    ] {
        let mut event = event();
        event[field] = value;
        let response = client.post(EVENTS, &event).expect("response");
        expect_error(&response, 422, "Invalid", text);
    }
}

#[test]
fn the_count_of_a_core_event_can_be_patched() {
    let (_server, client) = server();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "Any", "message": "m", "count": 1,
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "type": "Warning",
    });
    assert_eq!(
        client
            .post("/api/v1/namespaces/default/events", &event)
            .expect("response")
            .code,
        201
    );
    let counted = patch(
        &client,
        "/api/v1/namespaces/default/events/e",
        "application/strategic-merge-patch+json",
        &json!({"count": 2}),
    );
    assert_eq!((counted.code, &counted.json()["count"]), (200, &json!(2)));
}
