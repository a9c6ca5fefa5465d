//! What people expect of the objects of any installation.

use std::net::SocketAddr;

use plexus_e2e::skip;
use plexus_e2e::workspace::{files, read};
use serde_json::{Value, json};

use crate::chart::chart;
use crate::objects::{Objects, check_schema, documents};
use crate::rendered::{kubectl, render_with};
use crate::startup_taint::daemon_config;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An installation with everything, by kustomize and by Helm.
fn installations() -> [Objects; 2] {
    let components = ["openshift", "monitoring", "startup-taint", "dra"]
        .map(|name| format!("deploy/components/{name}"));
    let components = components.each_ref().map(String::as_str);
    let values = json!({
        "distribution": "openshift", "monitoring": {"enabled": true},
        "startupTaint": {"enabled": true}, "dra": {"enabled": true},
    });
    [
        render_with("deploy", &components, None),
        chart("networks", &values),
    ]
}

#[test]
fn objects_have_the_recommended_labels() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    for objects in installations() {
        assert!(objects.0.len() > 15, "{}", objects.0.len());
        for object in &objects.0 {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels["app.kubernetes.io/name"], "plexus", "{object:#}");
            assert_eq!(labels["app.kubernetes.io/part-of"], "plexus", "{object:#}");
            let component = labels["app.kubernetes.io/component"].as_str();
            let expected = match object["kind"].as_str() {
                Some("PodMonitor" | "PrometheusRule") => "monitoring",
                Some("CustomResourceDefinition") => "definitions",
                Some("DaemonSet" | "ServiceAccount") => "daemon",
                _ => component.unwrap_or_default(),
            };
            assert!(
                component == Some(expected) && !expected.is_empty(),
                "{object:#}"
            );
        }
        let set = objects.one("DaemonSet");
        for labels in [
            &set["metadata"]["labels"],
            &set["spec"]["template"]["metadata"]["labels"],
        ] {
            assert_eq!(labels["app.kubernetes.io/version"], VERSION, "{labels}");
        }
        assert!(set["metadata"]["labels"]["app.kubernetes.io/managed-by"].is_string());
    }
}

/// Kubernetes refuses a DaemonSet with another selector, so that an upgrade would fail.
#[test]
fn the_selector_of_the_daemon_set_never_changes() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    for objects in installations() {
        let selector = &objects.one("DaemonSet")["spec"]["selector"];
        assert_eq!(
            *selector,
            json!({"matchLabels": {"app.kubernetes.io/name": "plexus"}})
        );
        let selector = &objects.one("PodMonitor")["spec"]["selector"];
        assert_eq!(
            *selector,
            json!({"matchLabels": {"app.kubernetes.io/name": "plexus"}})
        );
    }
}

/// A Prometheus that has both would count everything twice.
#[test]
fn a_service_monitor_replaces_the_pod_monitor() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    let components =
        ["monitoring", "service-monitor"].map(|name| format!("deploy/components/{name}"));
    let objects = render_with("deploy", &components.each_ref().map(String::as_str), None);
    assert!(objects.all("PodMonitor").is_empty());
    let (service, monitor) = (objects.one("Service"), objects.one("ServiceMonitor"));
    check_schema(service);
    let port = &service["spec"]["ports"][0];
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], port["name"]);
    let address = daemon_config(&objects)
        .string("metricsAddress")
        .expect("text");
    let address: SocketAddr = address.expect("an address").parse().expect("an address");
    assert_eq!(port["targetPort"], address.port());
    let labels = [
        (
            &monitor["spec"]["selector"]["matchLabels"],
            &service["metadata"]["labels"],
        ),
        (
            &service["spec"]["selector"],
            &objects.one("DaemonSet")["spec"]["template"]["metadata"]["labels"],
        ),
    ];
    for (selector, labels) in labels {
        for (key, value) in selector.as_object().expect("labels") {
            assert_eq!(&labels[key], value, "{key}");
        }
    }
    let job = monitor["spec"]["jobLabel"].as_str().expect("a label");
    assert_eq!(
        service["metadata"]["labels"][job], "plexus",
        "the job in the alert PlexusDown"
    );
    assert_eq!(
        monitor["metadata"]["namespace"],
        service["metadata"]["namespace"]
    );
}

/// The API server would remove or replace such values, so that `kubectl diff` and others would
/// report a difference after each apply.
fn changed_by_the_api_server(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Null => found.push(format!("{at} is null")),
        // A selector of everything is the default of admission policies.
        Value::Object(map) if map.is_empty() && at.ends_with("Selector") => {}
        Value::Object(map) if map.is_empty() => found.push(format!("{at} is empty")),
        Value::Object(map) => {
            for (key, value) in map {
                changed_by_the_api_server(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(list) if list.is_empty() => found.push(format!("{at} is empty")),
        Value::Array(list) => {
            let mut names: Vec<_> = list
                .iter()
                .filter_map(|item| item["name"].as_str())
                .collect();
            let all = names.len();
            names.sort_unstable();
            names.dedup();
            if names.len() < all {
                found.push(format!("{at} has two items with one name"));
            }
            for (index, item) in list.iter().enumerate() {
                changed_by_the_api_server(item, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_api_server_changes_no_field_of_the_objects() {
    if !kubectl() {
        skip!("kubectl is missing");
    }
    for objects in installations() {
        for object in &objects.0 {
            let mut found = Vec::new();
            let at = format!("{} {}", object["kind"], object["metadata"]["name"]);
            changed_by_the_api_server(object, &at, &mut found);
            assert_eq!(found, Vec::<String>::new());
            for key in ["status", "creationTimestamp"] {
                assert_eq!(
                    object.get(key).or(object["metadata"].get(key)),
                    None,
                    "{at}"
                );
            }
        }
    }
}

/// The version after each `prefix` in the files.
fn versions(prefix: &str) -> Vec<(String, String)> {
    let mut names = files(&["deploy", "docs"], &["yaml", "md", "json"]);
    names.push("README.md".to_owned());
    let mut found = Vec::new();
    for name in names {
        for rest in read(&name).split(prefix).skip(1) {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
            let version = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
            if !version.is_empty() {
                found.push((name.clone(), version.to_owned()));
            }
        }
    }
    found
}

#[test]
fn all_files_name_the_version_of_the_workspace() {
    let mut places = 0;
    for prefix in [
        "localhost/plexus:",
        "registry.example.com/plexus:",
        "app.kubernetes.io/version: ",
        "plexus-image-",
        "plexus-manifests-",
        "`plexus-",
    ] {
        let found = versions(prefix);
        assert!(!found.is_empty(), "{prefix}");
        for (name, version) in &found {
            assert_eq!(version, VERSION, "{name}: {prefix}");
        }
        places += found.len();
    }
    assert!(places > 6, "{places}");
    let chart = documents(&read("deploy/helm/plexus/Chart.yaml")).remove(0);
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], VERSION, "{key}");
    }
}

/// The API server adds defaults to fields that server-side apply takes as a whole. If a manifest lacked
/// them, `kubectl apply --server-side` would conflict with the object that it has applied itself.
#[test]
fn fields_that_are_applied_as_a_whole_have_their_defaults() {
    for objects in installations() {
        let container = objects.container();
        let env = container["env"].as_array().expect("variables");
        let references = env
            .iter()
            .filter_map(|variable| variable["valueFrom"].get("fieldRef"));
        assert!(references.clone().count() > 0);
        for reference in references {
            assert_eq!(reference["apiVersion"], "v1", "{reference}");
        }
        let policies = objects
            .0
            .iter()
            .filter(|object| object["kind"] == "ValidatingAdmissionPolicy");
        assert!(policies.clone().count() > 0);
        for policy in policies {
            let constraints = &policy["spec"]["matchConstraints"];
            assert_eq!(constraints["matchPolicy"], "Equivalent", "{policy}");
            assert_eq!(constraints["namespaceSelector"], json!({}), "{policy}");
            assert_eq!(constraints["objectSelector"], json!({}), "{policy}");
            assert_eq!(constraints["resourceRules"][0]["scope"], "*", "{policy}");
        }
    }
}
