//! An event as the API server takes it: core/v1, which is what `kubectl describe` shows. Pure.

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{Event, Subject};

/// Who tells.
const COMPONENT: &str = "plexus";
/// The longest message; its end is cut off.
const LONGEST: usize = 1024;
/// The longest name of an object.
const LONGEST_NAME: usize = 253;
/// Where the API server wants the events of what is in no namespace.
const NO_NAMESPACE: &str = "default";

/// Namespace and name of what the event is about; the event is in that namespace.
pub(super) fn place<'a>(event: &'a Event, node: &'a str) -> (&'a str, &'a str) {
    match &event.subject {
        Subject::Pod(pod) => (&pod.namespace, &pod.name),
        Subject::Node => (NO_NAMESPACE, node),
    }
}

/// The object of an event that happened once, at `time`.
pub(super) fn created(event: &Event, name: &str, node: &str, time: Timestamp) -> Value {
    let Event {
        subject,
        reason,
        message,
    } = event;
    let (namespace, _) = place(event, node);
    let time = seconds(time);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": involved(subject, node),
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

fn involved(subject: &Subject, node: &str) -> Value {
    match subject {
        Subject::Pod(pod) => {
            let mut object = json!({"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name});
            // The static pod's own UID, where it is one: there `kubectl describe` looks for events of its mirror.
            if !pod.uid.is_empty() {
                object["uid"] = json!(pod.uid);
            }
            object
        }
        // Kubelets give the node's name for its UID, and every `kubectl describe node` looks for events by that; only
        // newer ones look by the real UID as well, which we could not know without a right to read nodes.
        Subject::Node => json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": node}),
    }
}

/// What changes when it happens again.
pub(super) fn repeated(count: u32, time: Timestamp) -> Value {
    json!({"count": count, "lastTimestamp": seconds(time)})
}

/// A name for an event, unlike all others: that of what it is about and a number that grows with time.
pub(super) fn name(event: &Event, node: &str, number: u128) -> String {
    let suffix = format!(".{number:x}");
    let (_, name) = place(event, node);
    let name = cut(name, LONGEST_NAME - suffix.len()).trim_end_matches(['.', '-']);
    format!("{name}{suffix}")
}

/// Times in events of core/v1 have no fractions.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

#[cfg(test)]
mod tests;
