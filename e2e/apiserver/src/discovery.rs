//! Discovery documents: the version of the server, API groups and resources.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::resources::Resources;

/// The version of Kubernetes that the server claims.
fn version() -> Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": "v1.37.0", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-08-01T00:00:00Z", "goVersion": "", "compiler": "gc", "platform": "linux/amd64",
    })
}

/// The document at a discovery path. Returns `None` for other paths. `address` is the address and
/// port of the server.
pub fn document(resources: &Resources, path: &str, address: &str) -> Option<Value> {
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["version"] => Some(version()),
        ["api"] => Some(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        })),
        ["apis"] => {
            let groups: Vec<_> = groups(resources)
                .iter()
                .map(|(name, versions)| group(name, versions))
                .collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => {
            let mut document = group(name, groups(resources).get(*name)?);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            Some(document)
        }
        ["api", version] => resource_list(resources, "", version),
        ["apis", group, version] => resource_list(resources, group, version),
        _ => None,
    }
}

/// The versions of every group except the core group.
fn groups(resources: &Resources) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in resources
        .iter()
        .filter(|resource| !resource.group.is_empty())
    {
        let versions = groups.entry(resource.group.clone()).or_default();
        for version in &resource.versions {
            if !versions.contains(version) {
                versions.push(version.clone());
            }
        }
    }
    groups
}

fn group(name: &str, versions: &[String]) -> Value {
    let versions: Vec<_> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "preferredVersion": versions.first(), "versions": versions})
}

fn resource_list(resources: &Resources, group: &str, version: &str) -> Option<Value> {
    let entries: Vec<_> = resources
        .iter()
        .filter(|resource| resource.serves(group, version))
        .flat_map(|resource| resource.discovery_entries())
        .collect();
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries,
    });
    (!entries.is_empty()).then_some(list)
}
