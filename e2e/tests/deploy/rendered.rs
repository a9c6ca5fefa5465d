//! What kustomize makes of `deploy/`. Skipped without kubectl.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use plexus_e2e::skip;
use serde_json::{Value, json};

use crate::objects::{Objects, check_schema, documents, root};
use crate::policy::{Verdict, account, judge};
use crate::startup_taint::check_daemon;

/// Where the directories of a distribution are: configuration, plugins.
const DISTRIBUTIONS: [(&str, &str, &str); 6] = [
    ("k0s", "/etc/cni/net.d", "/opt/cni/bin"),
    (
        "k3s",
        "/var/lib/rancher/k3s/agent/etc/cni/net.d",
        "/var/lib/rancher/k3s/data/cni",
    ),
    (
        "microk8s",
        "/var/snap/microk8s/current/args/cni-network",
        "/var/snap/microk8s/current/opt/cni/bin",
    ),
    ("openshift", "/etc/kubernetes/cni/net.d", "/var/lib/cni/bin"),
    ("rke2", "/etc/cni/net.d", "/opt/cni/bin"),
    ("talos", "/etc/cni/net.d", "/opt/cni/bin"),
];

fn kubectl() -> bool {
    Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// What `kubectl apply -k` applies.
fn render(dir: &Path) -> Objects {
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(dir)
        .output()
        .expect("kubectl can be executed");
    assert!(
        output.status.success(),
        "{}: {}",
        dir.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.stderr.is_empty(),
        "{}: {}",
        dir.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Objects(documents(&String::from_utf8(output.stdout).expect("text")))
}

/// The same of somebody's own kustomization, around one of ours.
fn render_own(resource: &str, component: &str) -> Objects {
    render_with(resource, &[component], None)
}

/// The same with several components, and a `daemon-config.json` of somebody's own.
fn render_with(resource: &str, components: &[&str], config: Option<&Value>) -> Objects {
    let dir = tempfile::tempdir().expect("a directory");
    // A kustomization refers to others by relative paths alone.
    let here = dir.path().canonicalize().expect("it is there");
    let up = "../".repeat(here.components().count() - 1);
    let below = |path: &str| {
        format!(
            "{up}{}",
            root(path)
                .canonicalize()
                .expect(path)
                .display()
                .to_string()
                .trim_start_matches('/')
        )
    };
    let components: Vec<_> = components
        .iter()
        .map(|component| below(component))
        .collect();
    let mut text = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": "networks",
        "resources": [below(resource)], "components": components,
        "images": [{"name": "localhost/plexus", "newName": "registry.example.com/plexus"}],
    });
    if let Some(config) = config {
        fs::write(here.join("daemon-config.json"), config.to_string()).expect("it can be written");
        let own = json!({"name": "plexus", "namespace": "kube-system", "behavior": "merge", "files": ["daemon-config.json"]});
        text["configMapGenerator"] = json!([own]);
    }
    fs::write(here.join("kustomization.yaml"), text.to_string()).expect("it can be written");
    render(&here)
}

fn names(objects: &Objects) -> BTreeSet<String> {
    let name = |object: &Value| {
        let (kind, name) = (
            object["kind"].as_str().expect("a kind"),
            object["metadata"]["name"].as_str(),
        );
        // Without the hash of its content.
        let name = if kind == "ConfigMap" {
            "plexus"
        } else {
            name.expect("a name")
        };
        format!("{kind} {name}")
    };
    objects.0.iter().map(name).collect()
}

const ON_NODES: [&str; 7] = [
    "ClusterRole plexus",
    "ClusterRoleBinding plexus",
    "ConfigMap plexus",
    "DaemonSet plexus",
    "ServiceAccount plexus",
    "ValidatingAdmissionPolicy plexus-pod-status",
    "ValidatingAdmissionPolicyBinding plexus-pod-status",
];

const WITH_THE_KIND: [&str; 3] = [
    "CustomResourceDefinition network-attachment-definitions.k8s.cni.cncf.io",
    "ValidatingAdmissionPolicy plexus-keep-definitions",
    "ValidatingAdmissionPolicyBinding plexus-keep-definitions",
];

fn set(lists: &[&[&str]]) -> BTreeSet<String> {
    lists
        .iter()
        .copied()
        .flatten()
        .map(|&name| name.to_owned())
        .collect()
}

#[test]
fn all_of_it_is_applied_and_a_bare_cluster_knows_it() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let all = render(&root("deploy"));
    assert_eq!(names(&all), set(&[&ON_NODES, &WITH_THE_KIND]));
    all.0.iter().for_each(check_schema);
    for object in &all.0 {
        let namespaced = matches!(
            object["kind"].as_str(),
            Some("ConfigMap" | "DaemonSet" | "ServiceAccount")
        );
        let namespace = object["metadata"].get("namespace").and_then(Value::as_str);
        assert_eq!(namespace, namespaced.then_some("kube-system"), "{object:#}");
        assert_eq!(
            object["metadata"]["labels"]["app.kubernetes.io/name"], "plexus",
            "{object:#}"
        );
    }
    let config = all.one("ConfigMap");
    let volumes = all.pod_spec()["volumes"].as_array().expect("volumes");
    let volume = volumes
        .iter()
        .find(|volume| volume["name"] == "config")
        .expect("the configuration");
    assert_eq!(volume["configMap"]["name"], config["metadata"]["name"]);
    assert_eq!(
        config["data"]["daemon-config.json"],
        crate::objects::read("deploy/node/daemon-config.json")
    );
}

#[test]
fn what_uninstalls_leaves_the_definitions() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let (mut node, uninstall) = (
        render(&root("deploy/node")),
        render(&root("deploy/uninstall")),
    );
    assert_eq!(names(&node), set(&[&ON_NODES]));
    assert_eq!(names(&uninstall), set(&[&ON_NODES]));
    assert_eq!(uninstall.container()["args"][0], "uninstall");
    assert_eq!(
        uninstall.one("DaemonSet")["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"],
        "100%"
    );
    // The rest is the same: it can be applied over it.
    for object in &mut node.0 {
        if object["kind"] == "DaemonSet" {
            object["spec"]["template"]["spec"]["containers"][0]["args"][0] = "uninstall".into();
            object["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"] = "100%".into();
        }
    }
    assert_eq!(node.0, uninstall.0);
    // And who deletes deploy/, which holds the kind, is refused that one.
    let keep = render(&root("deploy"))
        .named("ValidatingAdmissionPolicy", "plexus-keep-definitions")
        .clone();
    let rule = &keep["spec"]["matchConstraints"]["resourceRules"][0];
    assert_eq!(rule["operations"], json!(["DELETE"]));
    assert_eq!(rule["resources"], json!(["customresourcedefinitions"]));
    // A request that deletes the collection has no name, and no rule with names is for it.
    assert_eq!(rule.get("resourceNames"), None);
    let anyone = account("kubernetes-admin", None);
    let named = |name: &str| json!({"metadata": {"name": name}});
    let ours = named("network-attachment-definitions.k8s.cni.cncf.io");
    let Verdict::Refused(message) = judge(&keep, &anyone, &ours, &Value::Null) else {
        panic!("{keep:#}")
    };
    assert!(
        message.contains("every network-attachment-definition"),
        "{message}"
    );
    assert_eq!(
        judge(&keep, &anyone, &named("widgets.example.com"), &Value::Null),
        Verdict::NotOurs
    );
}

#[test]
fn distributions_have_their_directories() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    for (name, config, plugins) in DISTRIBUTIONS {
        for resource in ["deploy", "deploy/uninstall"] {
            let objects = render_own(resource, &format!("deploy/components/{name}"));
            assert_eq!(objects.host_path("cni-config"), config, "{name}");
            assert_eq!(objects.host_path("cni-bin"), plugins, "{name}");
            assert_eq!(
                objects.host_path("state"),
                "/var/lib/plexus",
                "{name}: the rest stays"
            );
            let written = Objects::of_node();
            assert_eq!(
                objects.container()["volumeMounts"],
                written.container()["volumeMounts"],
                "{name}"
            );
            let image = objects.container()["image"].as_str().expect("an image");
            assert!(image.starts_with("registry.example.com/plexus:"), "{image}");
            objects.0.iter().for_each(check_schema);
        }
    }
}

#[test]
fn a_namespace_of_ones_own_reaches_all_that_names_the_account() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    // The component with a binding of its own.
    let objects = render_own("deploy", "deploy/components/openshift");
    assert_eq!(
        objects.one("ServiceAccount")["metadata"]["namespace"],
        "networks"
    );
    assert_eq!(
        objects.one("DaemonSet")["metadata"]["namespace"],
        "networks"
    );
    for binding in objects.all("ClusterRoleBinding") {
        let subject = json!({"kind": "ServiceAccount", "name": "plexus", "namespace": "networks"});
        assert_eq!(binding["subjects"], json!([subject]), "{binding:#}");
    }
    let policy = objects.named("ValidatingAdmissionPolicy", "plexus-pod-status");
    let pod = json!({"metadata": {}, "spec": {"nodeName": "node-1"}, "status": {}});
    let ours = "system:serviceaccount:networks:plexus";
    assert_eq!(
        judge(policy, &account(ours, Some("node-1")), &pod, &pod),
        Verdict::Allowed
    );
    let other = judge(policy, &account(ours, Some("node-2")), &pod, &pod);
    assert!(matches!(other, Verdict::Refused(_)), "{other:?}");
}

#[test]
fn older_clusters_get_no_policy() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let objects = render_own("deploy", "deploy/components/without-admission-policy");
    assert_eq!(names(&objects), set(&[&ON_NODES[..5], &WITH_THE_KIND[..1]]));
}

#[test]
fn the_startup_taint_goes_with_other_components_and_with_a_configuration_of_ones_own() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let taint = "deploy/components/startup-taint";
    let own = json!({"multusAutoconfigDir": "/etc/cni/net.d", "shimDir": "/opt/cni/bin", "statusWait": "2s"});
    for resource in ["deploy", "deploy/uninstall"] {
        let alone = render_own(resource, taint);
        let added = [
            "ClusterRole",
            "ClusterRoleBinding",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ]
        .map(|kind| format!("{kind} plexus-startup-taint"));
        let usual: &[&str] = if resource == "deploy" {
            &WITH_THE_KIND
        } else {
            &[]
        };
        assert_eq!(
            names(&alone),
            set(&[&ON_NODES, usual, &added.each_ref().map(String::as_str)])
        );
        alone.0.iter().for_each(check_schema);
        let subject = json!({"kind": "ServiceAccount", "name": "plexus", "namespace": "networks"});
        assert_eq!(
            alone.named("ClusterRoleBinding", "plexus-startup-taint")["subjects"],
            json!([subject])
        );
        check_daemon(&alone, "maxPluginRuns");
        let monitoring = "deploy/components/monitoring";
        check_daemon(
            &render_with(resource, &[taint, monitoring], None),
            "metricsAddress",
        );
        check_daemon(
            &render_with(resource, &[monitoring, taint], None),
            "metricsAddress",
        );
        check_daemon(
            &render_with(resource, &[taint, "deploy/components/k3s"], Some(&own)),
            "statusWait",
        );
    }
    // Before 1.30: the rights without the policy that narrows them.
    let older = render_with(
        "deploy",
        &[taint, "deploy/components/without-admission-policy"],
        None,
    );
    assert!(older.all("ValidatingAdmissionPolicy").is_empty());
    check_daemon(&older, "maxPluginRuns");
}

#[test]
fn monitoring_adds_what_the_operators_take() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let objects = render_own("deploy", "deploy/components/monitoring");
    let maps = objects.all("ConfigMap");
    let [config, dashboard] = ["daemon-config.json", "grafana-dashboard.json"].map(|file| {
        let found: Vec<_> = maps
            .iter()
            .filter(|map| map["data"].get(file).is_some())
            .collect();
        assert_eq!(found.len(), 1, "{file}");
        found[0]["data"][file].as_str().expect("text").to_owned()
    });
    assert!(config.contains("metricsAddress"), "{config}");
    assert_eq!(
        dashboard,
        crate::objects::read("deploy/observability/grafana-dashboard.json")
    );
    let monitor = objects.one("PodMonitor");
    let labels = &objects.one("DaemonSet")["spec"]["template"]["metadata"]["labels"];
    for (key, value) in monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .expect("labels")
    {
        assert_eq!(&labels[key], value);
    }
    let job = monitor["spec"]["jobLabel"].as_str().expect("a label");
    assert_eq!(
        labels[job], "plexus",
        "the alert PlexusDown expects that job"
    );
    assert_eq!(
        monitor["metadata"]["namespace"], "networks",
        "it looks in its own namespace"
    );
    objects.one("PrometheusRule");
}
