//! Events in the APIs `v1` and `events.k8s.io/v1`. The store keeps them in the form of `v1`.

use serde_json::{Value, json};

use crate::field_error::FieldError;
use crate::object;

/// The fields with different names: the name in `v1`, and the name in `events.k8s.io/v1`.
const RENAMED_FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// Converts from `events.k8s.io/v1` to `v1`.
pub fn to_core(mut event: Value) -> Value {
    rename_fields(&mut event, |(core, events)| (events, core));
    event["apiVersion"] = "v1".into();
    event["kind"] = "Event".into();
    event
}

/// Converts the fields from `v1` to `events.k8s.io/v1`, without `apiVersion`.
pub fn from_core(event: &Value) -> Value {
    let mut event = event.clone();
    rename_fields(&mut event, |(core, events)| (core, events));
    event
}

fn rename_fields(
    event: &mut Value,
    direction: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    let Some(fields) = event.as_object_mut() else {
        return;
    };
    for (from, to) in RENAMED_FIELDS.map(direction) {
        if let Some(value) = fields.remove(from) {
            fields.insert(to.into(), value);
        }
    }
}

/// Validates a stored event that was created through the API group `group`.
pub fn validate(group: &str, event: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let involved = event["involvedObject"]["namespace"]
        .as_str()
        .unwrap_or_default();
    let field = if group.is_empty() {
        "involvedObject.namespace"
    } else {
        "regarding.namespace"
    };
    // Events about cluster-scoped objects are in `default`.
    let expected = if involved.is_empty() {
        "default"
    } else {
        involved
    };
    if expected != object::namespace(event)
        && !(involved.is_empty() && object::namespace(event) == "kube-system")
    {
        errors.push(FieldError::invalid(
            field,
            &json!(involved),
            "does not match event.namespace",
        ));
    }
    if group.is_empty() {
        return errors;
    }
    if event["eventTime"].is_null() {
        errors.push(FieldError::required("eventTime", ""));
    }
    let required = [
        ("reportingController", "reportingComponent"),
        ("reportingInstance", "reportingInstance"),
        ("action", "action"),
        ("reason", "reason"),
    ];
    for (field, stored) in required {
        let text = event[stored].as_str().unwrap_or_default();
        if text.is_empty() {
            errors.push(FieldError::required(field, ""));
        } else if text.len() > 128 {
            errors.push(FieldError::invalid(
                field,
                &json!(text),
                "can have at most 128 characters",
            ));
        }
    }
    let text = event["message"].as_str().unwrap_or_default();
    if text.len() > 1024 {
        errors.push(FieldError::invalid(
            "note",
            &json!(text),
            "can have at most 1024 characters",
        ));
    }
    if !matches!(event["type"].as_str(), Some("Normal" | "Warning")) {
        errors.push(FieldError::invalid(
            "type",
            &event["type"],
            "has invalid value: ",
        ));
    }
    errors
}
