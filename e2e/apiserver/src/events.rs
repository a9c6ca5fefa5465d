//! Events: one set of objects that two APIs show, `v1` and `events.k8s.io/v1`. Stored as `v1` has them.

use serde_json::{Value, json};

use super::object;
use super::refusal::Cause;

/// The members that differ, `v1` first.
const RENAMED: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// An event of `v1` from one of `events.k8s.io/v1`.
pub fn from_new(mut event: Value) -> Value {
    rename(&mut event, |(old, new)| (new, old));
    event["apiVersion"] = "v1".into();
    event["kind"] = "Event".into();
    event
}

/// An event of `events.k8s.io/v1` from one of `v1`.
pub fn to_new(event: &Value) -> Value {
    let mut event = event.clone();
    rename(&mut event, |(old, new)| (old, new));
    event
}

fn rename(
    event: &mut Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(members) = event.as_object_mut() else {
        return;
    };
    for (from, to) in RENAMED.map(direction) {
        if let Some(value) = members.remove(from) {
            members.insert(to.into(), value);
        }
    }
}

/// What is wrong with an event in its stored form that came through the API group `group`.
pub fn problems(group: &str, event: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let involved = event["involvedObject"]["namespace"]
        .as_str()
        .unwrap_or_default();
    let field = if group.is_empty() {
        "involvedObject.namespace"
    } else {
        "regarding.namespace"
    };
    // What has no namespace has its events in `default`.
    let home = if involved.is_empty() {
        "default"
    } else {
        involved
    };
    if home != object::namespace(event)
        && !(involved.is_empty() && object::namespace(event) == "kube-system")
    {
        causes.push(Cause::invalid(
            field,
            &json!(involved),
            "does not match event.namespace",
        ));
    }
    if group.is_empty() {
        return causes;
    }
    if event["eventTime"].is_null() {
        causes.push(Cause::required("eventTime", ""));
    }
    let shown = [
        ("reportingController", "reportingComponent"),
        ("reportingInstance", "reportingInstance"),
        ("action", "action"),
        ("reason", "reason"),
    ];
    for (field, stored) in shown {
        let text = event[stored].as_str().unwrap_or_default();
        if text.is_empty() {
            causes.push(Cause::required(field, ""));
        } else if text.len() > 128 {
            causes.push(Cause::invalid(
                field,
                &json!(text),
                "can have at most 128 characters",
            ));
        }
    }
    let text = event["message"].as_str().unwrap_or_default();
    if text.len() > 1024 {
        causes.push(Cause::invalid(
            "note",
            &json!(text),
            "can have at most 1024 characters",
        ));
    }
    if !matches!(event["type"].as_str(), Some("Normal" | "Warning")) {
        causes.push(Cause::invalid(
            "type",
            &event["type"],
            "has invalid value: ",
        ));
    }
    causes
}
