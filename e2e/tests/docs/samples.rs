//! Samples in the documentation and in `deploy/` are valid.

use std::collections::BTreeMap;
use std::process::Command;

use plexus_api::cni::{Defaults, NetworkConfig, Version};
use plexus_api::selection::{self, DEFAULT_NETWORK, NETWORKS};
use plexus_api::status::{NetworkStatus, render};
use plexus_e2e::binaries::binary;
use plexus_e2e::workspace::{files, read, root};
use plexus_e2e::yaml;
use plexusd::config::{Fields, Settings};
use serde_json::Value;

use crate::document::Document;

#[test]
fn samples_are_valid() {
    for document in Document::all() {
        for fence in &document.fences {
            let place = format!("{}: {}", document.name, fence.body);
            match fence.info.as_str() {
                "yaml" => check_manifests(&fence.body, &place),
                "json" => check_json(&fence.body, &place),
                "json daemon-config" => check_daemon_config(&fence.body, &place),
                "json network-status" => {
                    let entries: Vec<NetworkStatus> =
                        serde_json::from_str(&fence.body).expect(&place);
                    let rendered = render(&entries, usize::MAX).expect("no limit");
                    assert_eq!(rendered, fence.body.trim_end(), "{place}");
                }
                "sh" | "text" | "" => {}
                other => panic!("{place}: unknown kind of sample {other:?}"),
            }
        }
    }
    for name in files(&["deploy"], &["yaml", "yml"]) {
        // Templates of Helm become YAML when they are rendered.
        if !name.starts_with("deploy/helm/plexus/templates/") {
            check_manifests(&read(&name), &name);
        }
    }
    for name in files(&["deploy"], &["json", "conflist", "conf"]) {
        check_json(&read(&name), &name);
    }
    let example = "deploy/standalone/daemon-config.json";
    check_daemon_config(&read(example), example);
}

/// Each sample is in a directory of its own, because samples repeat names.
#[test]
fn lint_finds_nothing_in_the_samples_and_in_the_manifests() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut paths = Vec::new();
    let mut add = |name: &str, text: &str| {
        let dir = dir.path().join(paths.len().to_string());
        std::fs::create_dir(&dir).expect("a directory");
        let path = dir.join(name);
        std::fs::write(&path, text).expect("write a sample");
        paths.push(path);
    };
    for document in Document::all() {
        for fence in &document.fences {
            match fence.info.as_str() {
                "yaml" => add("sample.yaml", &fence.body),
                "json" => add("sample.json", &fence.body),
                "json daemon-config" => add("daemon-config.json", &fence.body),
                _ => {}
            }
        }
    }
    assert!(paths.len() > 20, "{paths:?}");
    let extensions = ["yaml", "yml", "json", "conflist", "conf"];
    let manifests = files(&["deploy", "e2e/kubernetes"], &extensions);
    let manifests = manifests
        .iter()
        .filter(|name| !name.contains("/templates/"));
    paths.extend(manifests.map(|name| root().join(name)));
    let mut command = Command::new(binary("plexusd"));
    let output = command.arg("lint").args(paths).output();
    let output = output.expect("execute plexusd");
    let findings = String::from_utf8_lossy(&output.stdout);
    assert_eq!(findings, "", "{output:?}");
    assert!(output.status.success(), "{output:?}");
}

fn check_json(text: &str, place: &str) {
    serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{place}: {error}"));
}

/// Checks that the text is YAML, and that Plexus accepts the definitions and pods in it.
fn check_manifests(text: &str, place: &str) {
    let documents = yaml::documents(text).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert!(!documents.is_empty(), "{place}: no document");
    for document in documents {
        match document["kind"].as_str() {
            Some("NetworkAttachmentDefinition") => check_definition(&document, place),
            Some("Pod") => check_pod(&document, place),
            _ => {}
        }
    }
}

fn check_definition(definition: &Value, place: &str) {
    let Some(config) = definition["spec"]["config"].as_str() else {
        return;
    };
    let defaults = Defaults {
        name: Some(definition["metadata"]["name"].as_str().unwrap_or_default()),
        version: Version::V1_0_0,
    };
    NetworkConfig::parse(config, defaults)
        .and_then(NetworkConfig::require_plugin)
        .unwrap_or_else(|error| panic!("{place}: {error}"));
}

fn check_pod(pod: &Value, place: &str) {
    let annotations = pod.pointer("/metadata/annotations").cloned();
    let annotations: BTreeMap<String, String> =
        serde_json::from_value(annotations.unwrap_or_default()).expect(place);
    for key in [NETWORKS, DEFAULT_NETWORK] {
        let Some(annotation) = annotations.get(key) else {
            continue;
        };
        let selected = selection::parse(annotation, "default")
            .unwrap_or_else(|error| panic!("{place}: {error}"));
        assert!(!selected.is_empty(), "{place}");
    }
}

/// Checks that all keys are known and all values are valid.
fn check_daemon_config(text: &str, place: &str) {
    let fields = Fields::parse(text).unwrap_or_else(|error| panic!("{place}: {error}"));
    Settings::read(&fields).unwrap_or_else(|error| panic!("{place}: {error}"));
    assert_eq!(Settings::unknown_keys(&fields), [""; 0], "{place}");
}
