//! The API object of an event: core/v1, which `kubectl describe` shows. Pure.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{Event, Subject, limit_message};

const COMPONENT: &str = "plexus";
/// The API server's limit on the length of an object's name.
const MAX_NAME: usize = 253;
/// The namespace for events on objects without a namespace.
const DEFAULT_NAMESPACE: &str = "default";

/// Namespace and name of the subject. The event is in the same namespace.
pub(super) fn namespace_and_name<'a>(event: &'a Event, node: &'a str) -> (&'a str, &'a str) {
    match &event.subject {
        Subject::Pod(pod) => (&pod.namespace, &pod.name),
        Subject::Definition {
            namespace, name, ..
        } => (namespace, name),
        Subject::Node => (DEFAULT_NAMESPACE, node),
    }
}

/// The object of an event that has happened once, at `time`.
pub(super) fn new(event: &Event, name: &str, node: &str, time: Timestamp) -> Value {
    let Event {
        subject,
        reason,
        message,
    } = event;
    let (namespace, _) = namespace_and_name(event, node);
    let time = seconds(time);
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": involved_object(subject, node),
        "type": if reason.is_warning() { "Warning" } else { "Normal" },
        "reason": reason.name(),
        "message": limit_message(message),
        "count": 1,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "source": {"component": COMPONENT, "host": node},
        "reportingComponent": COMPONENT,
        "reportingInstance": node,
    })
}

fn involved_object(subject: &Subject, node: &str) -> Value {
    match subject {
        Subject::Pod(pod) => {
            let mut object = json!({"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name});
            // For a static pod, this is the UID of the static pod, which `kubectl describe` uses
            // for the mirror too.
            if !pod.uid.is_empty() {
                object["uid"] = json!(pod.uid);
            }
            object
        }
        Subject::Definition {
            namespace,
            name,
            uid,
        } => json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "namespace": namespace, "name": name, "uid": uid,
        }),
        // Kubelet uses the node's name as the UID, and every version of `kubectl describe node`
        // searches for that. We have no permission to read the real UID.
        Subject::Node => json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": node}),
    }
}

/// The patch for an event that has happened again.
pub(super) fn count_patch(count: u32, time: Timestamp) -> Value {
    json!({"count": count, "lastTimestamp": seconds(time)})
}

/// The name of a new object: the name of the subject, and a number that grows with time. The event on
/// a definition has the same name on all nodes, so that the API server keeps one of them.
pub(super) fn new_name(event: &Event, node: &str, number: u128) -> String {
    let suffix = match &event.subject {
        Subject::Definition { .. } => format!(".{:016x}", hash(event)),
        Subject::Pod(_) | Subject::Node => format!(".{number:x}"),
    };
    let (_, name) = namespace_and_name(event, node);
    let name = truncate(name, MAX_NAME - suffix.len()).trim_end_matches(['.', '-']);
    format!("{name}{suffix}")
}

/// The same on all nodes that run the same build: the hasher has no random keys.
fn hash(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    hasher.finish()
}

/// The time without the fraction, which core/v1 does not allow.
fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or(time)
        .to_string()
}

fn truncate(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests;
