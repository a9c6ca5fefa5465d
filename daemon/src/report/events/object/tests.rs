use serde_json::json;

use super::*;
use crate::model::PodRef;
use crate::report::events::{EventReason, MAX_MESSAGE};

fn event(name: &str, reason: EventReason, message: &str) -> Event {
    let pod = PodRef {
        namespace: "ns".to_owned(),
        name: name.to_owned(),
        uid: "u-1".to_owned(),
        is_static: false,
    };
    Event {
        subject: Subject::Pod(pod),
        reason,
        message: message.to_owned(),
    }
}

fn time() -> Timestamp {
    "2024-05-06T07:08:09.123456Z".parse().expect("a time")
}

#[test]
fn the_object_has_the_fields_that_kubectl_describe_shows() {
    let object = new(
        &event("p", EventReason::AddedInterface, "Add eth0 [] from pods"),
        "p.1",
        "node-1",
        time(),
    );
    assert_eq!(
        object,
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "p.1", "namespace": "ns"},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "ns", "name": "p", "uid": "u-1"},
            "type": "Normal",
            "reason": "AddedInterface",
            "message": "Add eth0 [] from pods",
            "count": 1,
            "firstTimestamp": "2024-05-06T07:08:09Z",
            "lastTimestamp": "2024-05-06T07:08:09Z",
            "source": {"component": "plexus", "host": "node-1"},
            "reportingComponent": "plexus",
            "reportingInstance": "node-1",
        })
    );
    assert_eq!(
        count_patch(3, time()),
        json!({"count": 3, "lastTimestamp": "2024-05-06T07:08:09Z"})
    );
}

#[test]
fn an_event_on_the_node_has_the_uid_that_kubectl_searches_for() {
    let reason = EventReason::CNIConfigNotFirst;
    let event = Event {
        subject: Subject::Node,
        reason,
        message: "x".to_owned(),
    };
    let object = new(
        &event,
        &new_name(&event, "node-1.example", 0xa),
        "node-1.example",
        time(),
    );
    assert_eq!(
        object["metadata"],
        json!({"name": "node-1.example.a", "namespace": "default"})
    );
    let node = json!({"apiVersion": "v1", "kind": "Node", "name": "node-1.example", "uid": "node-1.example"});
    assert_eq!(object["involvedObject"], node);
    assert_eq!(
        (&object["type"], &object["reason"]),
        (&json!("Warning"), &json!("CNIConfigNotFirst"))
    );
}

#[test]
fn a_long_message_is_truncated_between_characters() {
    let long = "ä".repeat(MAX_MESSAGE);
    let object = new(
        &event("p", EventReason::AttachFailed, &long),
        "p.1",
        "n",
        time(),
    );
    assert_eq!(
        object["message"].as_str().expect("a text").len(),
        MAX_MESSAGE
    );
    assert_eq!(object["type"], "Warning");
    let odd = format!("x{long}");
    let object = new(
        &event("p", EventReason::AttachFailed, &odd),
        "p.1",
        "n",
        time(),
    );
    assert_eq!(
        object["message"].as_str().expect("a text").len(),
        MAX_MESSAGE - 1
    );
}

#[test]
fn names_of_objects_are_valid() {
    assert_eq!(
        new_name(
            &event("web-0", EventReason::AttachFailed, ""),
            "n",
            0x1234_abcd
        ),
        "web-0.1234abcd"
    );
    // The limit is 253 characters, and a full stop must not follow a full stop or a dash.
    let long = format!("{}-.{}", "a".repeat(240), "b".repeat(11));
    let name = new_name(
        &event(&long, EventReason::AttachFailed, ""),
        "n",
        0x1234_abcd_9999,
    );
    assert_eq!(name, format!("{}.1234abcd9999", "a".repeat(240)));
    assert!(name.len() <= MAX_NAME);
}

#[test]
fn the_event_on_a_definition_has_the_same_name_on_all_nodes() {
    let event = |message: &str| Event {
        subject: Subject::Definition {
            namespace: "ns".to_owned(),
            name: "lan".to_owned(),
            uid: "u".to_owned(),
        },
        reason: EventReason::InvalidNetworkConfig,
        message: message.to_owned(),
    };
    let name = new_name(&event("x"), "n1", 1);
    assert!(name.starts_with("lan."), "{name}");
    assert_eq!(name, new_name(&event("x"), "n2", 2));
    assert_ne!(name, new_name(&event("y"), "n1", 1));
    let object = new(&event("x"), &name, "n1", time());
    assert_eq!(object["metadata"]["namespace"], "ns");
    let involved = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "namespace": "ns", "name": "lan", "uid": "u",
    });
    assert_eq!(object["involvedObject"], involved);
}
