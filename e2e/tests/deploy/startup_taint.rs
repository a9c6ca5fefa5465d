//! The component `startup-taint`: its rights, its admission policy, and the configuration.

use clap::Parser as _;
use plexus_e2e::workspace::read;
use plexusd::cli::{Cli, Command};
use plexusd::config::{Fields, Settings};
use serde_json::{Value, json};

use crate::objects::{Objects, check_schema, documents};
use crate::policy::{OURS, Verdict, denial, evaluate_policy, request_of, with};

const DIR: &str = "deploy/components/startup-taint";
pub const TAINT: &str = "plexus.dev/not-ready";

fn objects() -> Objects {
    let files = ["access", "admission-policy"].map(|name| read(&format!("{DIR}/{name}.yaml")));
    Objects(files.iter().flat_map(|text| documents(text)).collect())
}

fn policy() -> Value {
    objects().one("ValidatingAdmissionPolicy").clone()
}

/// A node with these taints and all kinds of fields.
fn node(taints: &[Value]) -> Value {
    json!({
        "metadata": {
            "name": "node-1", "uid": "u", "resourceVersion": "7", "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"kubernetes.io/os": "linux"}, "annotations": {"a": "b"}, "finalizers": ["example.com/wait"],
        },
        "spec": {
            "podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"], "providerID": "p", "unschedulable": true,
            "taints": taints,
        },
        "status": {"nodeInfo": {"osImage": "x"}},
    })
}

fn taint(key: &str, effect: &str) -> Value {
    json!({"key": key, "effect": effect, "timeAdded": "2026-01-01T00:00:00Z"})
}

fn ours() -> Value {
    taint(TAINT, "NoSchedule")
}

fn other() -> Value {
    taint("example.com/other", "NoExecute")
}

#[test]
fn the_component_configures_the_taint_and_nothing_else() {
    let fields = |path: &str| Fields::parse(&read(path)).expect("JSON");
    let file = fields(&format!("{DIR}/startup-taint.json"));
    assert_eq!(
        Vec::from_iter(file.keys()),
        ["startuptaint"],
        "daemon-config.json overrides other keys"
    );
    let monitoring = fields("deploy/components/monitoring/monitoring.json");
    let config = fields("deploy/node/daemon-config.json");
    let together = file.overlaid_by(&monitoring).overlaid_by(&config);
    let settings = Settings::read(&together).expect("valid values");
    assert_eq!(settings.startup_taint.as_deref(), Some(TAINT));
}

#[test]
fn the_role_grants_get_and_patch_of_nodes() {
    let objects = objects();
    objects.0.iter().for_each(check_schema);
    assert!(
        objects
            .0
            .iter()
            .all(|object| object["metadata"]["labels"]["app.kubernetes.io/name"] == "plexus")
    );
    let rules = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]}]);
    assert_eq!(objects.one("ClusterRole")["rules"], rules);
    let (binding, usual) = (objects.one("ClusterRoleBinding"), Objects::of_node());
    assert_eq!(
        binding["roleRef"]["name"],
        objects.one("ClusterRole")["metadata"]["name"]
    );
    assert_eq!(
        binding["subjects"],
        usual.one("ClusterRoleBinding")["subjects"]
    );
}

#[test]
fn the_taint_of_the_same_node_may_be_removed() {
    let (policy, request) = (policy(), request_of(OURS, Some("node-1")));
    let bare = with(&node(&[]), "/spec/taints", None);
    let both = taint(TAINT, "NoExecute");
    for (old, new) in [
        (node(&[other(), ours()]), node(&[other()])),
        (node(&[ours(), other(), both]), node(&[other()])),
        (node(&[ours()]), bare.clone()),
        (node(&[ours()]), node(&[])),
        // Requests that change nothing.
        (bare.clone(), bare),
        (node(&[other()]), node(&[other()])),
    ] {
        // Fields that the API server changes.
        let new = with(
            &new,
            "/metadata/managedFields",
            Some(json!([{"manager": "plexusd"}])),
        );
        let new = with(
            &with(&new, "/metadata/resourceVersion", Some(json!("8"))),
            "/metadata/generation",
            Some(json!(2)),
        );
        assert_eq!(
            evaluate_policy(&policy, &request, &old, &new),
            Verdict::Allowed,
            "{old} -> {new}"
        );
    }
}

#[test]
fn other_nodes_and_tokens_without_a_node_are_denied() {
    let (policy, old, new) = (policy(), node(&[ours()]), node(&[]));
    for request in [
        request_of(OURS, Some("node-2")),
        request_of(OURS, Some("")),
        request_of(OURS, None),
    ] {
        let message = denial(&policy, &request, &old, &new);
        assert!(message.contains("own node"), "{message}");
    }
    // A token with other claims.
    let mut request = request_of(OURS, Some("node-1"));
    request["userInfo"]["extra"] = json!({"authentication.kubernetes.io/credential-id": ["x"]});
    denial(&policy, &request, &old, &new);
}

#[test]
fn no_other_taint_may_be_changed() {
    let (policy, request) = (policy(), request_of(OURS, Some("node-1")));
    let changed = json!({"key": "example.com/other", "effect": "NoSchedule"});
    for (old, new) in [
        (vec![ours(), other()], vec![]),
        (vec![other()], vec![]),
        (vec![ours(), other()], vec![changed.clone()]),
        (vec![other()], vec![changed]),
        (vec![ours()], vec![other()]),
        // The taint may not be added, or removed in part.
        (vec![], vec![ours()]),
        (vec![other()], vec![other(), ours()]),
        (vec![ours(), taint(TAINT, "NoExecute")], vec![ours()]),
    ] {
        let (old, new) = (node(&old), node(&new));
        let message = denial(&policy, &request, &old, &new);
        assert!(message.contains("not add or change"), "{message}");
    }
}

#[test]
fn no_other_field_of_a_node_may_be_changed() {
    let (policy, request) = (policy(), request_of(OURS, Some("node-1")));
    for (pointer, value, words) in [
        ("/spec/unschedulable", None, "specification"),
        ("/spec/unschedulable", Some(json!(false)), "specification"),
        ("/spec/providerID", Some(json!("q")), "specification"),
        ("/spec/podCIDRs", Some(json!([])), "specification"),
        ("/spec/configSource", Some(json!({})), "specification"),
        ("/spec/ofTomorrow", Some(json!("x")), "specification"),
        ("/metadata/labels", None, "labels"),
        (
            "/metadata/labels/kubernetes.io~1os",
            Some(json!("windows")),
            "labels",
        ),
        ("/metadata/labels/more", Some(json!("")), "labels"),
        ("/metadata/annotations", Some(json!({})), "annotations"),
        ("/metadata/finalizers", None, "finalizers"),
        (
            "/metadata/ownerReferences",
            Some(json!([{"kind": "Pod"}])),
            "owners",
        ),
    ] {
        let new = with(&node(&[]), pointer, value);
        let message = denial(&policy, &request, &node(&[ours()]), &new);
        assert!(message.contains(words), "{pointer}: {message}");
    }
}

#[test]
fn other_users_are_not_affected() {
    let (policy, old) = (policy(), node(&[]));
    let new = with(&node(&[ours()]), "/metadata/labels", None);
    for (user, node) in [
        ("system:node:node-1", None),
        ("system:serviceaccount:kube-system:node-controller", None),
        ("system:serviceaccount:kube-system:cilium", Some("node-1")),
        (
            "system:serviceaccount:kube-system:plexus-other",
            Some("node-1"),
        ),
        ("system:cloud-controller-manager", None),
        ("kubernetes-admin", None),
    ] {
        assert_eq!(
            evaluate_policy(&policy, &request_of(user, node), &old, &new),
            Verdict::NotMatched,
            "{user}"
        );
    }
}

#[test]
fn the_policy_matches_updates_of_nodes_and_fails_closed() {
    let policy = policy();
    // The role does not grant subresources, such as nodes/status.
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"], "scope": "*"}]);
    assert_eq!(policy["spec"]["matchConstraints"]["resourceRules"], rules);
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    let name = &policy["metadata"]["name"];
    let binding = objects().one("ValidatingAdmissionPolicyBinding").clone();
    assert_eq!(
        binding["spec"],
        json!({"policyName": name, "validationActions": ["Deny"]})
    );
}

/// The configuration files of the daemon together.
pub fn daemon_config(objects: &Objects) -> Fields {
    let args = [
        &objects.container()["command"],
        &objects.container()["args"],
    ];
    let words = args
        .into_iter()
        .flat_map(|list| list.as_array().expect("a list"))
        .map(|word| word.as_str().expect("text"));
    let cli = Cli::try_parse_from(words).expect("valid arguments");
    let (Command::Serve(serve) | Command::Uninstall(serve)) = cli.command else {
        panic!("{cli:?}")
    };
    let volumes = objects.pod_spec()["volumes"].as_array().expect("volumes");
    let name = &volumes
        .iter()
        .find(|volume| volume["name"] == "config")
        .expect("the volume")["configMap"]["name"];
    let maps = objects.all("ConfigMap");
    let map = maps
        .iter()
        .find(|map| map["metadata"]["name"] == *name)
        .expect("the mounted ConfigMap");
    let mut file = Fields::default();
    for path in serve.config {
        assert_eq!(
            path.parent().and_then(std::path::Path::to_str),
            Some("/etc/plexus")
        );
        let name = path
            .file_name()
            .and_then(std::ffi::OsStr::to_str)
            .expect("a name");
        file = file
            .overlaid_by(&Fields::parse(map["data"][name].as_str().expect(name)).expect("JSON"));
    }
    file
}

/// Asserts that the configuration files of the daemon together have the taint and the key `also`.
pub fn assert_daemon_config(objects: &Objects, also: &str) {
    let file = daemon_config(objects);
    assert_eq!(
        Settings::read(&file)
            .expect("valid values")
            .startup_taint
            .as_deref(),
        Some(TAINT)
    );
    assert!(file.has(also), "{also} is missing");
}
