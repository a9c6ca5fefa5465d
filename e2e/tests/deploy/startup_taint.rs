//! The component `startup-taint`: what it grants, what its policy refuses, and that the daemon is told.

use clap::Parser as _;
use plexusd::cli::{Cli, Command};
use plexusd::config::{Fields, Settings};
use serde_json::{Value, json};

use crate::objects::{Objects, check_schema, documents, read};
use crate::policy::{OURS, Verdict, account, judge, with};

const DIR: &str = "deploy/components/startup-taint";
const TAINT: &str = "plexus.dev/not-ready";

fn objects() -> Objects {
    let files = ["access", "admission-policy"].map(|name| read(&format!("{DIR}/{name}.yaml")));
    Objects(files.iter().flat_map(|text| documents(text)).collect())
}

fn policy() -> Value {
    objects().one("ValidatingAdmissionPolicy").clone()
}

/// A node with these taints, and something of everything.
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
fn it_is_the_taint_that_the_daemon_takes_off() {
    let fields = |path: &str| Fields::parse(&read(path)).expect("it is JSON");
    let file = fields(&format!("{DIR}/startup-taint.json"));
    assert_eq!(
        file.keys().collect::<Vec<_>>(),
        ["startuptaint"],
        "what it says besides would win over daemon-config.json"
    );
    for config in [
        "deploy/node/daemon-config.json",
        "deploy/components/monitoring/daemon-config.json",
    ] {
        let settings = Settings::read(&fields(config).overlaid_by(&file)).expect("it is allowed");
        assert_eq!(settings.startup_taint.as_deref(), Some(TAINT));
    }
}

#[test]
fn it_grants_no_more_than_that_takes() {
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
fn the_taint_of_the_own_node_may_be_taken_off() {
    let (policy, request) = (policy(), account(OURS, Some("node-1")));
    let bare = with(&node(&[]), "/spec/taints", None);
    let both = taint(TAINT, "NoExecute");
    for (old, new) in [
        (node(&[other(), ours()]), node(&[other()])),
        (node(&[ours(), other(), both]), node(&[other()])),
        (node(&[ours()]), bare.clone()),
        (node(&[ours()]), node(&[])),
        // A request that changes nothing.
        (bare.clone(), bare),
        (node(&[other()]), node(&[other()])),
    ] {
        // The API server keeps account of who wrote what.
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
            judge(&policy, &request, &old, &new),
            Verdict::Allowed,
            "{old} -> {new}"
        );
    }
}

#[test]
fn other_nodes_and_tokens_of_no_node_are_refused() {
    let (policy, old, new) = (policy(), node(&[ours()]), node(&[]));
    for account in [
        account(OURS, Some("node-2")),
        account(OURS, Some("")),
        account(OURS, None),
    ] {
        let verdict = judge(&policy, &account, &old, &new);
        let Verdict::Refused(message) = &verdict else {
            panic!("{account}: {verdict:?}")
        };
        assert!(message.contains("own node"), "{message}");
    }
    // A token of another kind has claims, but not that one.
    let mut request = account(OURS, Some("node-1"));
    request["userInfo"]["extra"] = json!({"authentication.kubernetes.io/credential-id": ["x"]});
    assert!(matches!(
        judge(&policy, &request, &old, &new),
        Verdict::Refused(_)
    ));
}

#[test]
fn no_other_taint_may_differ() {
    let (policy, request) = (policy(), account(OURS, Some("node-1")));
    let changed = json!({"key": "example.com/other", "effect": "NoSchedule"});
    for (old, new) in [
        (vec![ours(), other()], vec![]),
        (vec![other()], vec![]),
        (vec![ours(), other()], vec![changed.clone()]),
        (vec![other()], vec![changed]),
        (vec![ours()], vec![other()]),
        // Never put on, and not left in part.
        (vec![], vec![ours()]),
        (vec![other()], vec![other(), ours()]),
        (vec![ours(), taint(TAINT, "NoExecute")], vec![ours()]),
    ] {
        let (old, new) = (node(&old), node(&new));
        let verdict = judge(&policy, &request, &old, &new);
        let Verdict::Refused(message) = &verdict else {
            panic!("{old} -> {new}: {verdict:?}")
        };
        assert!(message.contains("not add or change"), "{message}");
    }
}

#[test]
fn nothing_else_of_a_node_may_differ() {
    let (policy, request) = (policy(), account(OURS, Some("node-1")));
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
        let verdict = judge(&policy, &request, &node(&[ours()]), &new);
        let Verdict::Refused(message) = &verdict else {
            panic!("{pointer}: {verdict:?}")
        };
        assert!(message.contains(words), "{pointer}: {message}");
    }
}

#[test]
fn everybody_else_goes_on_updating_nodes() {
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
            judge(&policy, &account(user, node), &old, &new),
            Verdict::NotOurs,
            "{user}"
        );
    }
}

#[test]
fn nodes_are_what_the_policy_sees_and_errors_refuse() {
    let policy = policy();
    // What else there is of a node, as nodes/status, the role does not reach.
    let rules = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"]}]);
    assert_eq!(policy["spec"]["matchConstraints"]["resourceRules"], rules);
    assert_eq!(policy["spec"]["failurePolicy"], "Fail");
    let name = &policy["metadata"]["name"];
    let binding = objects().one("ValidatingAdmissionPolicyBinding").clone();
    assert_eq!(
        binding["spec"],
        json!({"policyName": name, "validationActions": ["Deny"]})
    );
}

/// The files of the daemon in these manifests, in their order, and what they say together.
pub fn check_daemon(objects: &Objects, also: &str) {
    let args = [
        &objects.container()["command"],
        &objects.container()["args"],
    ];
    let words = args
        .into_iter()
        .flat_map(|list| list.as_array().expect("a list"))
        .map(|word| word.as_str().expect("text"));
    let cli = Cli::try_parse_from(words).expect("plexusd takes it");
    let (Command::Serve(serve) | Command::Uninstall(serve)) = cli.command else {
        panic!("{cli:?}")
    };
    let volumes = objects.pod_spec()["volumes"].as_array().expect("volumes");
    let name = &volumes
        .iter()
        .find(|volume| volume["name"] == "config")
        .expect("it is there")["configMap"]["name"];
    let maps = objects.all("ConfigMap");
    let map = maps
        .iter()
        .find(|map| map["metadata"]["name"] == *name)
        .expect("the map that is mounted");
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
    assert_eq!(
        Settings::read(&file)
            .expect("it is allowed")
            .startup_taint
            .as_deref(),
        Some(TAINT)
    );
    assert!(file.has(also), "{also} is lost");
}
