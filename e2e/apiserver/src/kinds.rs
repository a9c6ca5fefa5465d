//! The resources that the server serves: a few built-in ones, and those that definitions add.

use std::sync::Arc;

use serde_json::{Value, json};

/// A resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// The API group, empty for the core.
    pub group: String,
    /// Versions that are served, the preferred one first.
    pub versions: Vec<String>,
    /// The name in paths.
    pub plural: String,
    /// The kind in objects.
    pub name: String,
    /// Names for `kubectl`.
    pub short_names: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether there is the subresource `status`.
    pub status: bool,
    /// Whether a `CustomResourceDefinition` made it.
    pub custom: bool,
}

impl Kind {
    fn built_in(
        group: &str,
        version: &str,
        plural: &str,
        kind: &str,
        short: &[&str],
        namespaced: bool,
    ) -> Self {
        Self {
            group: group.into(),
            versions: vec![version.into()],
            plural: plural.into(),
            name: kind.into(),
            short_names: short.iter().map(ToString::to_string).collect(),
            namespaced,
            status: matches!(
                plural,
                "pods" | "nodes" | "namespaces" | "customresourcedefinitions"
            ),
            custom: false,
        }
    }

    /// `plural` or `plural.group`: in messages, and the name that tests use.
    pub fn qualified(&self) -> String {
        qualified(&self.group, &self.plural)
    }

    /// Under which name its objects are stored. The two APIs of events show the same objects.
    pub fn storage(&self) -> String {
        if self.plural == "events" {
            "events".into()
        } else {
            self.qualified()
        }
    }

    /// `version` or `group/version`.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    /// The kind of its lists.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.name)
    }

    /// Its entries in an `APIResourceList`.
    pub fn resources(&self) -> Vec<Value> {
        let mut entry = json!({
            "name": self.plural, "singularName": self.name.to_lowercase(), "namespaced": self.namespaced,
            "kind": self.name,
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        });
        if !self.short_names.is_empty() {
            entry["shortNames"] = json!(self.short_names);
        }
        let mut entries = vec![entry];
        if self.status {
            entries.push(json!({
                "name": format!("{}/status", self.plural), "singularName": "", "namespaced": self.namespaced,
                "kind": self.name, "verbs": ["get", "patch", "update"],
            }));
        }
        entries
    }
}

/// `plural` or `plural.group`.
pub fn qualified(group: &str, plural: &str) -> String {
    if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    }
}

/// All resources that are served now.
#[derive(Debug)]
pub struct Kinds(Vec<Arc<Kind>>);

impl Kinds {
    /// Those of a cluster without definitions.
    pub fn built_in() -> Self {
        let kinds = [
            Kind::built_in("", "v1", "namespaces", "Namespace", &["ns"], false),
            Kind::built_in("", "v1", "nodes", "Node", &["no"], false),
            Kind::built_in("", "v1", "pods", "Pod", &["po"], true),
            Kind::built_in("", "v1", "events", "Event", &["ev"], true),
            Kind::built_in("", "v1", "configmaps", "ConfigMap", &["cm"], true),
            Kind::built_in("", "v1", "secrets", "Secret", &[], true),
            Kind::built_in("", "v1", "serviceaccounts", "ServiceAccount", &["sa"], true),
            Kind::built_in("events.k8s.io", "v1", "events", "Event", &["ev"], true),
            Kind::built_in("coordination.k8s.io", "v1", "leases", "Lease", &[], true),
            Kind::built_in(
                "apiextensions.k8s.io",
                "v1",
                "customresourcedefinitions",
                "CustomResourceDefinition",
                &["crd", "crds"],
                false,
            ),
        ];
        Self(kinds.into_iter().map(Arc::new).collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.0.iter()
    }

    /// The one that is served under this path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Kind>> {
        let served = |kind: &&Arc<Kind>| {
            kind.group == group
                && kind.plural == plural
                && kind.versions.iter().any(|served| served == version)
        };
        self.0.iter().find(served).cloned()
    }

    /// The one with this name, `plural` or `plural.group`.
    pub fn named(&self, qualified: &str) -> Option<Arc<Kind>> {
        self.0
            .iter()
            .find(|kind| kind.qualified() == qualified)
            .cloned()
    }

    /// The one of an object.
    pub fn of(&self, object: &Value) -> Option<(Arc<Kind>, String)> {
        let api_version = object["apiVersion"].as_str()?;
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let kind = self.0.iter().find(|kind| {
            kind.group == group
                && kind.name == object["kind"]
                && kind.versions.iter().any(|served| served == version)
        })?;
        Some((kind.clone(), version.to_owned()))
    }

    /// Serves what a `CustomResourceDefinition` says, in the place of what it said before.
    pub fn define(&mut self, definition: &Value) {
        let Some(kind) = custom(definition) else {
            return;
        };
        self.withdraw(&kind.group, &kind.plural);
        self.0.push(Arc::new(kind));
    }

    /// Ends serving a custom resource.
    pub fn withdraw(&mut self, group: &str, plural: &str) {
        self.0
            .retain(|kind| !(kind.custom && kind.group == group && kind.plural == plural));
    }
}

/// The resource that a `CustomResourceDefinition` describes.
pub fn custom(definition: &Value) -> Option<Kind> {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let versions = spec["versions"].as_array()?;
    let served = versions.iter().filter(|version| version["served"] == true);
    let short_names = spec["names"]["shortNames"]
        .as_array()
        .map(|names| names.iter().filter_map(text).collect());
    Some(Kind {
        group: text(&spec["group"])?,
        versions: served
            .filter_map(|version| text(&version["name"]))
            .collect(),
        plural: text(&spec["names"]["plural"])?,
        name: text(&spec["names"]["kind"])?,
        short_names: short_names.unwrap_or_default(),
        namespaced: spec["scope"] == "Namespaced",
        status: versions
            .iter()
            .any(|version| version["subresources"]["status"].is_object()),
        custom: true,
    })
}
