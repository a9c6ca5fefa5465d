//! The Helm chart renders the objects of the kustomization.

mod functions;
mod schema;
mod template;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use plexus_e2e::workspace::{files, read};
use plexus_e2e::{skip, yaml};
use plexusd::config::Fields;
use serde_json::{Value, json};

use self::template::{Chart, merge};
use crate::objects::{Objects, check_schema, documents, root};
use crate::rendered::{kubectl, render, render_with};
use crate::startup_taint::daemon_config;

const DIR: &str = "deploy/helm/plexus";
/// Labels that depend on the tool, and that kustomize cannot add to objects of components.
const LABELS_OF_A_RELEASE: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];
const DISTRIBUTIONS: [&str; 6] = ["k0s", "k3s", "microk8s", "openshift", "rke2", "talos"];

/// The objects that `helm install` creates.
pub fn chart(namespace: &str, values: &Value) -> Objects {
    let chart = Chart {
        dir: &root(DIR),
        release: "plexus",
        namespace,
    };
    let schema = serde_json::from_str(&read(&format!("{DIR}/values.schema.json"))).expect("JSON");
    let problems = schema::problems(&schema, &chart.values(values), "");
    assert!(problems.is_empty(), "{problems:?}");
    let rendered = chart.render(values);
    let rendered = rendered.unwrap_or_else(|error| panic!("{error}: {values}"));
    let manifests = rendered.iter().filter(|(name, _)| name != "NOTES.txt");
    let mut objects: Vec<_> = manifests.flat_map(|(_, text)| documents(text)).collect();
    objects.extend(documents(&read(&format!(
        "{DIR}/crds/network-attachment-definitions.yaml"
    ))));
    Objects(objects)
}

/// The same objects for the kustomizations of [`render_with`].
fn chart_of_a_user(mut values: Value) -> Objects {
    values["image"] = json!({"repository": "registry.example.com/plexus"});
    chart("networks", &values)
}

fn keys(fields: &Fields) -> BTreeMap<String, String> {
    let value = |key: &str| {
        let raw = fields.raw(key).expect("a listed key").get();
        let value: Value = serde_json::from_str(raw).expect("JSON");
        value.to_string()
    };
    fields
        .keys()
        .into_iter()
        .map(|key| (key.clone(), value(&key)))
        .collect()
}

/// The objects by kind and name, without the differences between Helm and kustomize: the labels of
/// a release, how many files the configuration has, and what makes a changed configuration roll out.
fn comparable(objects: &Objects) -> BTreeMap<String, Value> {
    let config = keys(&daemon_config(objects));
    let mut comparable = BTreeMap::new();
    for object in &objects.0 {
        let mut object = object.clone();
        if let Some(labels) = object["metadata"]["labels"].as_object_mut() {
            labels.retain(|key, _| !LABELS_OF_A_RELEASE.contains(&key.as_str()));
        }
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        // kustomize 5.5 does not know that these kinds have no namespace. The API server removes it.
        if kind.starts_with("ValidatingAdmissionPolicy") {
            let metadata = object["metadata"].as_object_mut().expect("metadata");
            metadata.remove("namespace");
        }
        let mut name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        if kind == "ConfigMap" && object["data"].get("daemon-config.json").is_some() {
            name = String::from("plexus");
            object["metadata"]["name"] = json!(name);
            object["data"] = json!(config);
        }
        if kind == "DaemonSet" {
            let template = &mut object["spec"]["template"];
            template["metadata"]
                .as_object_mut()
                .expect("metadata")
                .remove("annotations");
            let pod = &mut template["spec"];
            let args = pod["containers"][0]["args"].as_array().expect("arguments");
            pod["containers"][0]["args"] = json!([args[0]]);
            let volumes = pod["volumes"].as_array_mut().expect("volumes");
            let volume = volumes.iter_mut().find(|volume| volume["name"] == "config");
            volume.expect("the configuration")["configMap"]["name"] = json!("plexus");
            volumes.sort_by_key(|volume| volume["name"].to_string());
        }
        let former = comparable.insert(format!("{kind} {name}"), object);
        assert!(former.is_none(), "two objects {kind} {name}");
    }
    comparable
}

fn assert_equal(chart: &Objects, kustomization: &Objects, case: &str) {
    let (chart, kustomization) = (comparable(chart), comparable(kustomization));
    let names = |objects: &BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&chart), names(&kustomization), "{case}");
    for (name, object) in &chart {
        let expected = &kustomization[name];
        assert!(
            object == expected,
            "{case}: {name}:\n{object:#}\n{expected:#}"
        );
    }
}

/// A configuration of a user: the default one with one key changed and one added.
fn own_config() -> Value {
    let mut config: Value =
        serde_json::from_str(&read("deploy/node/daemon-config.json")).expect("JSON");
    merge(
        &mut config,
        &json!({"logLevel": "debug", "statusWait": "2s"}),
    );
    config
}

#[test]
fn the_default_values_render_the_objects_of_the_kustomization() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let objects = chart("kube-system", &json!({}));
    objects.0.iter().for_each(check_schema);
    assert_equal(&objects, &render(&root("deploy")), "defaults");
}

#[test]
fn each_value_renders_the_objects_of_its_component() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let mut cases: Vec<(Value, Vec<&str>)> = vec![
        (json!({}), vec![]),
        (json!({"monitoring": {"enabled": true}}), vec!["monitoring"]),
        (
            json!({"startupTaint": {"enabled": true}}),
            vec!["startup-taint"],
        ),
        (json!({"dra": {"enabled": true}}), vec!["dra"]),
        (
            json!({"monitoring": {"enabled": true, "kind": "ServiceMonitor"}}),
            vec!["monitoring", "service-monitor"],
        ),
        (
            json!({"cniPlugins": {"enabled": true}}),
            vec!["cni-plugins"],
        ),
        (json!({"hotplug": {"enabled": true}}), vec!["hotplug"]),
        (
            json!({"admissionPolicy": {"enabled": false}}),
            vec!["without-admission-policy"],
        ),
        (
            json!({"startupTaint": {"enabled": true}, "admissionPolicy": {"enabled": false}}),
            vec!["startup-taint", "without-admission-policy"],
        ),
    ];
    for name in DISTRIBUTIONS {
        cases.push((json!({"distribution": name}), vec![name]));
    }
    for (mut values, components) in cases {
        let components: Vec<_> = components
            .iter()
            .map(|name| format!("deploy/components/{name}"))
            .collect();
        let components: Vec<_> = components.iter().map(String::as_str).collect();
        for (uninstall, resource) in [(false, "deploy"), (true, "deploy/uninstall")] {
            values["uninstall"] = json!(uninstall);
            let mut objects = chart_of_a_user(values.clone());
            let mut expected = render_with(resource, &components, None);
            if uninstall {
                // The kustomization of the uninstall contains nothing that is kept.
                objects.0.retain(|object| !kept(object));
                expected.0.retain(|object| !kept(object));
            }
            assert_equal(&objects, &expected, &format!("{values} {components:?}"));
        }
    }
}

fn kept(object: &Value) -> bool {
    let name = object["metadata"]["name"].as_str().expect("a name");
    name.starts_with("network-attachment-definitions") || name == "plexus-keep-definitions"
}

#[test]
fn all_values_at_once_lose_nothing() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    for distribution in DISTRIBUTIONS {
        let values = json!({
            "distribution": distribution,
            "monitoring": {"enabled": true}, "startupTaint": {"enabled": true}, "dra": {"enabled": true}, "hotplug": {"enabled": true},
            "cniPlugins": {"enabled": true}, "config": {"logLevel": "debug", "statusWait": "2s"},
        });
        let components: Vec<_> = [
            distribution,
            "monitoring",
            "startup-taint",
            "dra",
            "hotplug",
            "cni-plugins",
        ]
        .map(|name| format!("deploy/components/{name}"))
        .into();
        let components: Vec<_> = components.iter().map(String::as_str).collect();
        let objects = chart_of_a_user(values);
        let expected = render_with("deploy", &components, Some(&own_config()));
        assert_equal(&objects, &expected, distribution);
        let config = keys(&daemon_config(&objects));
        for (key, value) in [
            ("loglevel", r#""debug""#),
            ("statuswait", r#""2s""#),
            ("maxpluginruns", "16"),
            ("metricsaddress", r#""[::]:9037""#),
            ("startuptaint", r#""plexus.dev/not-ready""#),
            ("dra", r#""on""#),
            ("hotplug", r#""on""#),
        ] {
            assert_eq!(config.get(key).map(String::as_str), Some(value), "{key}");
        }
    }
}

#[test]
fn files_of_the_chart_are_those_of_the_kustomization() {
    let copies = files(&[&format!("{DIR}/files")], &["json", "yaml"]);
    assert!(copies.len() > 10, "{copies:?}");
    let crd = format!("{DIR}/crds/network-attachment-definitions.yaml");
    let mut pairs = vec![(
        crd,
        "deploy/crd/network-attachment-definitions.yaml".to_owned(),
    )];
    for copy in copies {
        let original = copy.replace(&format!("{DIR}/files/"), "deploy/");
        pairs.push((copy, original));
    }
    for (copy, original) in pairs {
        assert_eq!(
            read(&copy),
            read(&original),
            "`make chart` copies {original}"
        );
    }
}

#[test]
fn helm_itself_renders_the_same() {
    let version = Command::new("helm").arg("version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        skip!("helm is missing");
    }
    let values = json!({
        "distribution": "openshift", "config": {"statusWait": "2s", "maxPluginRuns": null},
        "monitoring": {"enabled": true, "labels": {"release": "prometheus"}},
        "startupTaint": {"enabled": true}, "dra": {"enabled": true}, "hotplug": {"enabled": true},
        "imagePullSecrets": [{"name": "registry"}],
    });
    for (namespace, values) in [("kube-system", json!({})), ("networks", values)] {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("values.json");
        fs::write(&file, values.to_string()).expect("write the values");
        let output = Command::new("helm")
            .args([
                "template",
                "plexus",
                "--include-crds",
                "--namespace",
                namespace,
                "--values",
            ])
            .arg(&file)
            .arg(root(DIR))
            .output()
            .expect("execute helm");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("text");
        let objects = Objects(yaml::documents(&text).expect("YAML"));
        assert_equal(&chart(namespace, &values), &objects, namespace);
    }
}
