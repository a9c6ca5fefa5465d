//! Compositions of `deploy/` with components and with a configuration of one's own.

use std::fs;

use plexus_e2e::skip;
use plexus_e2e::workspace::read;
use serde_json::json;

use crate::objects::{Objects, documents, root};
use crate::rendered::{kubectl, relative_root, render, render_with};
use crate::startup_taint::{TAINT, daemon_config};

const MONITORING: &str = "deploy/components/monitoring";
const STARTUP_TAINT: &str = "deploy/components/startup-taint";

/// The value of a key of the daemon's configuration.
fn key(objects: &Objects, key: &str) -> Option<String> {
    daemon_config(objects)
        .raw(key)
        .map(|raw| raw.get().trim_matches('"').to_owned())
}

#[test]
fn components_and_a_configuration_of_ones_own_both_apply() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let own = json!({"shimDir": "/opt/cni/bin", "statusWait": "2s"});
    for resource in ["deploy", "deploy/uninstall"] {
        for components in [[MONITORING, STARTUP_TAINT], [STARTUP_TAINT, MONITORING]] {
            let objects = render_with(resource, &components, Some(&own));
            assert_eq!(key(&objects, "statusWait").as_deref(), Some("2s"));
            assert_eq!(key(&objects, "maxPluginRuns"), None, "the file is replaced");
            assert_eq!(
                key(&objects, "metricsAddress").as_deref(),
                Some("[::]:9037")
            );
            assert_eq!(key(&objects, "startupTaint").as_deref(), Some(TAINT));
        }
    }
}

#[test]
fn a_configuration_of_ones_own_takes_precedence_over_components() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let own = json!({"metricsAddress": "[::1]:1", "startupTaint": "example.com/wait"});
    let objects = render_with("deploy", &[MONITORING, STARTUP_TAINT], Some(&own));
    assert_eq!(key(&objects, "metricsAddress").as_deref(), Some("[::1]:1"));
    assert_eq!(
        key(&objects, "startupTaint").as_deref(),
        Some("example.com/wait")
    );
}

#[test]
fn components_set_the_directory_of_kubelet_where_it_is_not_the_default() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    for (name, dir) in [
        ("k0s", Some("/var/lib/k0s/kubelet")),
        (
            "microk8s",
            Some("/var/snap/microk8s/common/var/lib/kubelet"),
        ),
        ("k3s", None),
    ] {
        let component = format!("deploy/components/{name}");
        for resource in ["deploy", "deploy/uninstall"] {
            let objects = render_with(resource, &[&component, STARTUP_TAINT], None);
            assert_eq!(key(&objects, "kubeletDir").as_deref(), dir, "{name}");
            assert_eq!(key(&objects, "startupTaint").as_deref(), Some(TAINT));
            let own = json!({"kubeletDir": "/data/kubelet"});
            let objects = render_with(resource, &[&component], Some(&own));
            let own = key(&objects, "kubeletDir");
            assert_eq!(own.as_deref(), Some("/data/kubelet"), "{name}");
        }
    }
}

/// The YAML block of docs/installation.md that contains `line`.
fn documented(line: &str) -> String {
    let page = read("docs/installation.md");
    let mut blocks = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.lines().any(|other| other == line));
    block
        .unwrap_or_else(|| panic!("no example has {line:?}"))
        .to_owned()
}

#[test]
fn the_documented_compositions_are_rendered() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().canonicalize().expect("an absolute path");
    let kustomization = documented("kind: Kustomization");
    let taint = documented("  - ../deploy/components/startup-taint");
    let taint = taint.strip_prefix("components:\n").expect("components");
    let more = format!("components:\n{taint}  - ../deploy/components/hotplug\n");
    let text = kustomization.replace("components:\n", &more) + &documented("configMapGenerator:");
    fs::write(dir.join("daemon-config.json"), r#"{"statusWait": "2s"}"#).expect("write");
    fs::write(dir.join("namespace.yaml"), documented("kind: Namespace")).expect("write");
    let up = relative_root(&dir);
    let text = text.replace("../deploy", &format!("{up}/deploy"));
    fs::write(dir.join("kustomization.yaml"), text).expect("write");
    let objects = render(&dir);
    assert_eq!(key(&objects, "statusWait").as_deref(), Some("2s"));
    assert_eq!(
        key(&objects, "metricsAddress").as_deref(),
        Some("[::]:9037")
    );
    assert_eq!(key(&objects, "startupTaint").as_deref(), Some(TAINT));
    assert_eq!(key(&objects, "hotplug").as_deref(), Some("on"));
    for kind in ["PodMonitor", "PrometheusRule"] {
        assert_eq!(objects.one(kind)["metadata"]["namespace"], "plexus");
    }
    assert_eq!(
        objects.host_path("cni-bin"),
        "/var/lib/rancher/k3s/data/cni"
    );
    assert_eq!(objects.one("DaemonSet")["metadata"]["namespace"], "plexus");
    let namespace = &objects.one("Namespace")["metadata"];
    assert_eq!(namespace["name"], "plexus");
    let enforced = &namespace["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(
        enforced, "privileged",
        "hostPath, hostNetwork and privileged pods"
    );
}

#[test]
fn components_patch_volumes_of_the_daemon_set() {
    let node = Objects::of_node();
    let monitor = Objects(documents(&read("deploy/observability/pod-monitor.yaml")));
    let mut seen = 0;
    for entry in std::fs::read_dir(root("deploy/components"))
        .expect("components")
        .flatten()
    {
        let name = entry.file_name().into_string().expect("text");
        let kustomization = documents(&read(&format!(
            "deploy/components/{name}/kustomization.yaml"
        )))
        .remove(0);
        assert_eq!(kustomization["kind"], "Component", "{name}");
        for patch in kustomization["patches"].as_array().into_iter().flatten() {
            let target = &patch["target"];
            let kind = target["kind"].as_str().expect("a kind");
            let known = node.all(kind).len() + monitor.all(kind).len();
            assert!(known > 0, "{name}: no {kind}");
            let label = target["labelSelector"]
                .as_str()
                .and_then(|label| label.split_once('='))
                .expect("a label");
            assert_eq!(label, ("app.kubernetes.io/name", "plexus"), "{name}");
            let patch = documents(patch["patch"].as_str().expect("a patch")).remove(0);
            let volumes = patch["spec"]["template"]["spec"]["volumes"].as_array();
            for volume in volumes.into_iter().flatten() {
                node.host_path(volume["name"].as_str().expect("a name"));
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 12, "six distributions with two directories");
}
