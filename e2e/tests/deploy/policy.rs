//! The admission policy for network-status. Its expressions are evaluated as in the API server.

use cel::{Context, Program, Value as Cel};
use plexus_api::status::NETWORK_STATUS;
use serde_json::{Map, Value, json};

use crate::objects::Objects;

const NODE_CLAIM: &str = "authentication.kubernetes.io/node-name";

/// The decision of a policy.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The match conditions exclude the request.
    NotMatched,
    Allowed,
    /// Denied with this message.
    Denied(String),
}

fn evaluate(expression: &str, context: &Context) -> Cel {
    let program =
        Program::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    program
        .execute(context)
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
}

/// Evaluates `policy` for a request.
pub fn evaluate_policy(policy: &Value, request: &Value, old: &Value, new: &Value) -> Verdict {
    let list = |key: &str| policy["spec"][key].as_array().cloned().unwrap_or_default();
    let mut context = Context::default();
    for (name, value) in [("request", request), ("oldObject", old), ("object", new)] {
        context
            .add_variable(name, value.clone())
            .expect("a JSON value");
    }
    let expression = |item: &Value| {
        item["expression"]
            .as_str()
            .expect("an expression")
            .to_owned()
    };
    if list("matchConditions")
        .iter()
        .any(|condition| evaluate(&expression(condition), &context) != Cel::Bool(true))
    {
        return Verdict::NotMatched;
    }
    let mut variables = Map::new();
    for variable in list("variables") {
        let value = evaluate(&expression(&variable), &context)
            .json()
            .expect("a JSON value");
        variables.insert(variable["name"].as_str().expect("a name").to_owned(), value);
    }
    context
        .add_variable("variables", Value::Object(variables))
        .expect("a JSON value");
    let failed = list("validations")
        .into_iter()
        .find(|rule| evaluate(&expression(rule), &context) != Cel::Bool(true));
    failed.map_or(Verdict::Allowed, |rule| {
        Verdict::Denied(rule["message"].as_str().unwrap_or_default().to_owned())
    })
}

/// The message of the denial. Panics if the request is not denied.
pub fn denial(policy: &Value, request: &Value, old: &Value, new: &Value) -> String {
    match evaluate_policy(policy, request, old, new) {
        Verdict::Denied(message) => message,
        verdict => panic!("{request}: {old} -> {new}: {verdict:?}"),
    }
}

/// A request of a user, with the node in the claims of the token.
pub fn request_of(user: &str, node: Option<&str>) -> Value {
    let mut info = json!({"username": user, "groups": ["system:serviceaccounts"]});
    if let Some(node) = node {
        info["extra"] =
            json!({NODE_CLAIM: [node], "authentication.kubernetes.io/pod-name": ["plexus-x"]});
    }
    json!({"userInfo": info, "operation": "UPDATE", "resource": {"resource": "pods"}, "subResource": "status"})
}

pub const OURS: &str = "system:serviceaccount:kube-system:plexus";

fn policy() -> Value {
    Objects::of_node().one("ValidatingAdmissionPolicy").clone()
}

/// A pod on node-1 with all kinds of fields.
fn pod() -> Value {
    json!({
        "metadata": {
            "name": "web", "namespace": "default", "uid": "u", "resourceVersion": "7",
            "labels": {"app": "web"},
            "annotations": {"k8s.v1.cni.cncf.io/networks": "lan"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web"}],
        },
        "spec": {"nodeName": "node-1"},
        "status": {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]},
    })
}

/// A copy of the object with a field set or removed.
pub fn with(object: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut object = object.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    let key = key.replace("~1", "/");
    let parent = object
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .expect("the parent");
    match value {
        Some(value) => parent.insert(key, value),
        None => parent.remove(&key),
    };
    object
}

fn status_at() -> String {
    format!(
        "/metadata/annotations/{}",
        NETWORK_STATUS.replace('/', "~1")
    )
}

#[test]
fn network_status_of_a_pod_on_the_same_node_may_be_changed() {
    let (policy, request) = (policy(), request_of(OURS, Some("node-1")));
    let fresh = pod();
    let written = with(&fresh, &status_at(), Some(json!("[]")));
    let bare = with(&fresh, "/metadata/annotations", None);
    let only = with(
        &with(&bare, "/metadata/annotations", Some(json!({}))),
        &status_at(),
        Some(json!("[]")),
    );
    for (old, new) in [
        (&fresh, &written),
        (&written, &fresh),
        (&written, &written),
        (&bare, &only),
    ] {
        // The API server changes managedFields.
        let new = with(
            new,
            "/metadata/managedFields",
            Some(json!([{"manager": "plexusd"}])),
        );
        assert_eq!(
            evaluate_policy(&policy, &request, old, &new),
            Verdict::Allowed,
            "{old} -> {new}"
        );
    }
}

#[test]
fn pods_of_other_nodes_and_tokens_without_a_node_are_denied() {
    let (policy, old) = (policy(), pod());
    let new = with(&old, &status_at(), Some(json!("[]")));
    let unscheduled = |pod: &Value| with(pod, "/spec/nodeName", None);
    for (node, old, new) in [
        (Some("node-2"), old.clone(), new.clone()),
        (Some(""), old.clone(), new.clone()),
        (None, old.clone(), new.clone()),
        (Some("node-1"), unscheduled(&old), unscheduled(&new)),
        (None, unscheduled(&old), unscheduled(&new)),
    ] {
        let message = denial(&policy, &request_of(OURS, node), &old, &new);
        assert!(message.contains("own node"), "{message}");
    }
    // A token with other claims.
    let mut request = request_of(OURS, Some("node-1"));
    request["userInfo"]["extra"] = json!({"authentication.kubernetes.io/credential-id": ["x"]});
    denial(&policy, &request, &old, &new);
}

#[test]
fn no_other_field_of_a_pod_may_be_changed() {
    let (policy, request) = (policy(), request_of(OURS, Some("node-1")));
    let old = with(
        &pod(),
        "/metadata/finalizers",
        Some(json!(["example.com/wait"])),
    );
    let selection = "/metadata/annotations/k8s.v1.cni.cncf.io~1networks";
    for (pointer, value) in [
        (selection, Some(json!("other"))),
        (selection, None),
        ("/metadata/annotations/other", Some(json!(""))),
        ("/metadata/annotations", None),
        ("/metadata/labels", Some(json!({"app": "other"}))),
        ("/metadata/labels", None),
        ("/metadata/finalizers", Some(json!([]))),
        ("/metadata/finalizers", None),
        ("/metadata/ownerReferences", None),
        ("/status/phase", Some(json!("Running"))),
        ("/status/conditions", Some(json!([]))),
        ("/status/podIP", Some(json!("10.0.0.1"))),
        ("/status", None),
    ] {
        let new = with(&old, pointer, value);
        let message = denial(&policy, &request, &old, &new);
        assert!(!message.contains("own node"), "{pointer}: {message}");
    }
}

#[test]
fn other_users_are_not_affected() {
    let (policy, old) = (policy(), pod());
    let new = with(&old, "/status/phase", Some(json!("Running")));
    for (user, node) in [
        ("system:node:node-1", None),
        (
            "system:serviceaccount:kube-system:plexus-other",
            Some("node-1"),
        ),
        (
            "system:serviceaccount:kube-system:not-plexus",
            Some("node-1"),
        ),
        ("system:kube-controller-manager", None),
        ("plexus", None),
    ] {
        assert_eq!(
            evaluate_policy(&policy, &request_of(user, node), &old, &new),
            Verdict::NotMatched,
            "{user}"
        );
    }
}

#[test]
fn the_policy_matches_updates_of_pods_status_and_fails_closed() {
    let policy = policy();
    let rules = json!([{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods/status"], "scope": "*",
    }]);
    assert_eq!(policy["spec"]["matchConstraints"]["resourceRules"], rules);
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    let binding = Objects::of_node()
        .one("ValidatingAdmissionPolicyBinding")
        .clone();
    let name = &policy["metadata"]["name"];
    assert_eq!(
        binding["spec"],
        json!({"policyName": name, "validationActions": ["Deny"]})
    );
}
