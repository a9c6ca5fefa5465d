//! The objects that kustomize renders from `deploy/`. Skipped without kubectl.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use plexus_e2e::skip;
use plexus_e2e::workspace::read;
use serde_json::{Value, json};

use crate::objects::{Objects, check_schema, documents, root};
use crate::policy::{Verdict, denial, evaluate_policy, request_of};
use crate::startup_taint::assert_daemon_config;

/// Distributions with their directories for configuration and plugins.
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

pub fn kubectl() -> bool {
    Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// The objects that `kubectl apply -k` applies.
pub fn render(dir: &Path) -> Objects {
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(dir)
        .output()
        .expect("execute kubectl");
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

/// The root of the repository, relative to an absolute path. kustomize accepts only relative paths.
pub fn relative_root(from: &Path) -> String {
    let up = "../".repeat(from.components().count() - 1);
    let root = root("").canonicalize().expect("an absolute path");
    let root = root.to_str().expect("text").trim_start_matches('/');
    format!("{up}{root}")
}

/// Renders a kustomization of a user with one of our resources and one component.
fn render_with_component(resource: &str, component: &str) -> Objects {
    render_with(resource, &[component], None)
}

/// The same with several components and a `daemon-config.json` of the user.
pub fn render_with(resource: &str, components: &[&str], config: Option<&Value>) -> Objects {
    let dir = tempfile::tempdir().expect("a directory");
    let here = dir.path().canonicalize().expect("an absolute path");
    let up = relative_root(&here);
    let below = |path: &str| format!("{up}/{path}");
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
        fs::write(here.join("daemon-config.json"), config.to_string()).expect("write the file");
        let own = json!({"name": "plexus", "namespace": "kube-system", "behavior": "merge", "files": ["daemon-config.json"]});
        text["configMapGenerator"] = json!([own]);
    }
    fs::write(here.join("kustomization.yaml"), text.to_string()).expect("write the file");
    render(&here)
}

fn names(objects: &Objects) -> BTreeSet<String> {
    let name = |object: &Value| {
        let (kind, name) = (
            object["kind"].as_str().expect("a kind"),
            object["metadata"]["name"].as_str(),
        );
        // The name has a hash of the content.
        let name = if kind == "ConfigMap" {
            "plexus"
        } else {
            name.expect("a name")
        };
        format!("{kind} {name}")
    };
    objects.0.iter().map(name).collect()
}

const NODE_OBJECTS: [&str; 7] = [
    "ClusterRole plexus",
    "ClusterRoleBinding plexus",
    "ConfigMap plexus",
    "DaemonSet plexus",
    "ServiceAccount plexus",
    "ValidatingAdmissionPolicy plexus-pod-status",
    "ValidatingAdmissionPolicyBinding plexus-pod-status",
];

const CRD_OBJECTS: [&str; 5] = [
    "ClusterRole network-attachment-definitions-admin",
    "ClusterRole network-attachment-definitions-view",
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
fn deploy_renders_all_objects_with_kinds_of_kubernetes_itself() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let all = render(&root("deploy"));
    assert_eq!(names(&all), set(&[&NODE_OBJECTS, &CRD_OBJECTS]));
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
        read("deploy/node/daemon-config.json")
    );
}

#[test]
fn uninstall_keeps_the_definitions() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let (mut node, uninstall) = (
        render(&root("deploy/node")),
        render(&root("deploy/uninstall")),
    );
    assert_eq!(names(&node), set(&[&NODE_OBJECTS]));
    assert_eq!(names(&uninstall), set(&[&NODE_OBJECTS]));
    assert_eq!(uninstall.container()["args"][0], "uninstall");
    assert_eq!(
        uninstall.one("DaemonSet")["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"],
        "100%"
    );
    // All other fields are equal, so `deploy/uninstall` can be applied over `deploy/node`.
    for object in &mut node.0 {
        if object["kind"] == "DaemonSet" {
            object["spec"]["template"]["spec"]["containers"][0]["args"][0] = "uninstall".into();
            object["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"] = "100%".into();
        }
    }
    assert_eq!(node.0, uninstall.0);
    // `kubectl delete -k deploy` does not delete the CRD.
    let keep = render(&root("deploy"))
        .named("ValidatingAdmissionPolicy", "plexus-keep-definitions")
        .clone();
    let rule = &keep["spec"]["matchConstraints"]["resourceRules"][0];
    assert_eq!(rule["operations"], json!(["DELETE"]));
    assert_eq!(rule["resources"], json!(["customresourcedefinitions"]));
    // A rule with resource names would not match the deletion of a collection.
    assert_eq!(rule.get("resourceNames"), None);
    let user = request_of("kubernetes-admin", None);
    let named = |name: &str| json!({"metadata": {"name": name}});
    let ours = named("network-attachment-definitions.k8s.cni.cncf.io");
    let message = denial(&keep, &user, &ours, &Value::Null);
    assert!(
        message.contains("every network-attachment-definition"),
        "{message}"
    );
    assert_eq!(
        evaluate_policy(&keep, &user, &named("widgets.example.com"), &Value::Null),
        Verdict::NotMatched
    );
}

#[test]
fn components_set_the_directories_of_distributions() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    for (name, config, plugins) in DISTRIBUTIONS {
        for resource in ["deploy", "deploy/uninstall"] {
            let objects = render_with_component(resource, &format!("deploy/components/{name}"));
            assert_eq!(objects.host_path("cni-config"), config, "{name}");
            assert_eq!(objects.host_path("cni-bin"), plugins, "{name}");
            assert_eq!(
                objects.host_path("state"),
                "/var/lib/plexus",
                "{name}: other directories"
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
fn another_namespace_is_set_in_all_references_to_the_service_account() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    // This component has a ClusterRoleBinding.
    let objects = render_with_component("deploy", "deploy/components/openshift");
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
        evaluate_policy(policy, &request_of(ours, Some("node-1")), &pod, &pod),
        Verdict::Allowed
    );
    denial(policy, &request_of(ours, Some("node-2")), &pod, &pod);
}

#[test]
fn a_component_removes_the_admission_policies_for_older_clusters() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let objects = render_with_component("deploy", "deploy/components/without-admission-policy");
    assert_eq!(
        names(&objects),
        set(&[&NODE_OBJECTS[..5], &CRD_OBJECTS[..3]])
    );
}

#[test]
fn the_startup_taint_can_be_combined_with_other_components_and_another_configuration() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let taint = "deploy/components/startup-taint";
    let own = json!({"multusAutoconfigDir": "/etc/cni/net.d", "shimDir": "/opt/cni/bin", "statusWait": "2s"});
    for resource in ["deploy", "deploy/uninstall"] {
        let alone = render_with_component(resource, taint);
        let added = [
            "ClusterRole",
            "ClusterRoleBinding",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ]
        .map(|kind| format!("{kind} plexus-startup-taint"));
        let usual: &[&str] = if resource == "deploy" {
            &CRD_OBJECTS
        } else {
            &[]
        };
        assert_eq!(
            names(&alone),
            set(&[&NODE_OBJECTS, usual, &added.each_ref().map(String::as_str)])
        );
        alone.0.iter().for_each(check_schema);
        let subject = json!({"kind": "ServiceAccount", "name": "plexus", "namespace": "networks"});
        assert_eq!(
            alone.named("ClusterRoleBinding", "plexus-startup-taint")["subjects"],
            json!([subject])
        );
        assert_daemon_config(&alone, "maxPluginRuns");
        let monitoring = "deploy/components/monitoring";
        assert_daemon_config(
            &render_with(resource, &[taint, monitoring], None),
            "metricsAddress",
        );
        assert_daemon_config(
            &render_with(resource, &[monitoring, taint], None),
            "metricsAddress",
        );
        assert_daemon_config(
            &render_with(resource, &[taint, "deploy/components/k3s"], Some(&own)),
            "statusWait",
        );
    }
    // Kubernetes before 1.30 has no admission policies.
    let older = render_with(
        "deploy",
        &[taint, "deploy/components/without-admission-policy"],
        None,
    );
    assert!(older.all("ValidatingAdmissionPolicy").is_empty());
    assert_daemon_config(&older, "maxPluginRuns");
}

#[test]
fn monitoring_adds_objects_of_the_prometheus_operator_and_the_dashboard() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let objects = render_with_component("deploy", "deploy/components/monitoring");
    let maps = objects.all("ConfigMap");
    let [config, dashboard] = ["monitoring.json", "grafana-dashboard.json"].map(|file| {
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
        read("deploy/observability/grafana-dashboard.json")
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
    assert_eq!(labels[job], "plexus", "the job in the alert PlexusDown");
    assert_eq!(
        monitor["metadata"]["namespace"], "networks",
        "a PodMonitor selects pods of its own namespace"
    );
    objects.one("PrometheusRule");
}
