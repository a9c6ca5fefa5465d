//! An event as the API server takes it: core/v1, which is what `kubectl describe` shows. Pure.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::Event;

/// Who tells.
const COMPONENT: &str = "plexus";
/// The longest message; its end is cut off.
const LONGEST: usize = 1024;
/// The longest name of an object.
const LONGEST_NAME: usize = 253;

/// The object of an event that happened once, at `time`.
pub(super) fn created(event: &Event, name: &str, node: &str, time: Timestamp) -> Value {
    let Event { pod, reason, message } = event;
    // The static pod's own UID, where it is one: there `kubectl describe` looks for events of its mirror.
    let mut object = json!({"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name});
    if !pod.uid.is_empty() {
        object["uid"] = json!(pod.uid);
    }
    let time = seconds(time);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": pod.namespace},
        "involvedObject": object,
        "type": if reason.is_warning() { "Warning" } else { "Normal" },
        "reason": reason.name(),
        "message": cut(message, LONGEST),
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": COMPONENT, "host": node},
        "reportingComponent": COMPONENT,
        "reportingInstance": node,
    })
}

/// What changes when it happens again.
pub(super) fn repeated(count: u32, time: Timestamp) -> Value {
    json!({"count": count, "lastTimestamp": seconds(time)})
}

/// A name for an event, unlike all others: the pod's and a number that grows with time.
pub(super) fn name(event: &Event, number: u128) -> String {
    let suffix = format!(".{number:x}");
    let pod = cut(&event.pod.name, LONGEST_NAME - suffix.len()).trim_end_matches(['.', '-']);
    format!("{pod}{suffix}")
}

/// Times in events of core/v1 have no fractions.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

#[cfg(test)]
mod tests;
