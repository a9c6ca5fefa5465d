//! The resources that the server serves: built-in ones, and custom ones from
//! `CustomResourceDefinition` objects.

use std::sync::Arc;

use serde_json::{Value, json};

/// A resource type, as discovery describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The served versions, the preferred one first.
    pub versions: Vec<String>,
    /// The name in paths, such as `pods`.
    pub plural: String,
    /// The kind of its objects, such as `Pod`.
    pub kind: String,
    /// Short names for `kubectl`.
    pub short_names: Vec<String>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// Whether the subresource `status` exists.
    pub has_status: bool,
    /// Whether a `CustomResourceDefinition` defines the resource.
    pub custom: bool,
}

impl Resource {
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
            kind: kind.into(),
            short_names: short.iter().map(ToString::to_string).collect(),
            namespaced,
            has_status: matches!(
                plural,
                "pods" | "nodes" | "namespaces" | "customresourcedefinitions" | "resourceclaims"
            ),
            custom: false,
        }
    }

    /// `plural` or `plural.group`.
    pub fn qualified_name(&self) -> String {
        qualified_name(&self.group, &self.plural)
    }

    /// The table of the store that has its objects. Both APIs of events share one.
    pub fn table(&self) -> String {
        if self.plural == "events" {
            "events".into()
        } else {
            self.qualified_name()
        }
    }

    /// The `apiVersion` of its objects in one of its versions.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        }
    }

    /// Whether the resource is in this group and served in this version.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.group == group && self.versions.iter().any(|served| served == version)
    }

    /// The kind of its lists, such as `PodList`.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// The entries in an `APIResourceList`: the resource and its subresources.
    pub fn discovery_entries(&self) -> Vec<Value> {
        let mut entry = json!({
            "name": self.plural, "singularName": self.kind.to_lowercase(), "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
        });
        if !self.short_names.is_empty() {
            entry["shortNames"] = json!(self.short_names);
        }
        let mut entries = vec![entry];
        if self.has_status {
            entries.push(json!({
                "name": format!("{}/status", self.plural), "singularName": "", "namespaced": self.namespaced,
                "kind": self.kind, "verbs": ["get", "patch", "update"],
            }));
        }
        entries
    }
}

/// `name` or `name.group`, for a resource or a kind.
pub fn qualified_name(group: &str, name: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

/// All resources that are served now.
#[derive(Debug)]
pub struct Resources(Vec<Arc<Resource>>);

impl Resources {
    /// The resources of a cluster without any `CustomResourceDefinition`.
    pub fn built_in() -> Self {
        let resources = [
            Resource::built_in("", "v1", "namespaces", "Namespace", &["ns"], false),
            Resource::built_in("", "v1", "nodes", "Node", &["no"], false),
            Resource::built_in("", "v1", "pods", "Pod", &["po"], true),
            Resource::built_in("", "v1", "events", "Event", &["ev"], true),
            Resource::built_in("", "v1", "configmaps", "ConfigMap", &["cm"], true),
            Resource::built_in("", "v1", "secrets", "Secret", &[], true),
            Resource::built_in("", "v1", "serviceaccounts", "ServiceAccount", &["sa"], true),
            Resource::built_in("events.k8s.io", "v1", "events", "Event", &["ev"], true),
            Resource::built_in(
                "resource.k8s.io",
                "v1",
                "resourceclaims",
                "ResourceClaim",
                &[],
                true,
            ),
            Resource::built_in(
                "resource.k8s.io",
                "v1",
                "resourceslices",
                "ResourceSlice",
                &[],
                false,
            ),
            Resource::built_in("coordination.k8s.io", "v1", "leases", "Lease", &[], true),
            Resource::built_in(
                "apiextensions.k8s.io",
                "v1",
                "customresourcedefinitions",
                "CustomResourceDefinition",
                &["crd", "crds"],
                false,
            ),
        ];
        Self(resources.into_iter().map(Arc::new).collect())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.0.iter()
    }

    /// The resource at this path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.0
            .iter()
            .find(|resource| resource.plural == plural && resource.serves(group, version))
            .cloned()
    }

    /// The resource with this qualified name.
    pub fn by_name(&self, qualified_name: &str) -> Option<Arc<Resource>> {
        self.0
            .iter()
            .find(|resource| resource.qualified_name() == qualified_name)
            .cloned()
    }

    /// The resource and version of an object, by its `apiVersion` and `kind`.
    pub fn of_object(&self, object: &Value) -> Option<(Arc<Resource>, String)> {
        let api_version = object["apiVersion"].as_str()?;
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let resource = self
            .0
            .iter()
            .find(|resource| resource.kind == object["kind"] && resource.serves(group, version))?;
        Some((resource.clone(), version.to_owned()))
    }

    /// Adds or replaces the resource of a `CustomResourceDefinition`.
    pub fn add_custom(&mut self, crd: &Value) {
        let Some(resource) = from_crd(crd) else {
            return;
        };
        self.remove_custom(&resource.group, &resource.plural);
        self.0.push(Arc::new(resource));
    }

    pub fn remove_custom(&mut self, group: &str, plural: &str) {
        self.0.retain(|resource| {
            !(resource.custom && resource.group == group && resource.plural == plural)
        });
    }
}

/// The resource that a `CustomResourceDefinition` describes. Returns `None` if required fields are
/// missing.
pub fn from_crd(crd: &Value) -> Option<Resource> {
    let spec = &crd["spec"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let versions = spec["versions"].as_array()?;
    let served = versions.iter().filter(|version| version["served"] == true);
    let short_names = spec["names"]["shortNames"]
        .as_array()
        .map(|names| names.iter().filter_map(text).collect());
    Some(Resource {
        group: text(&spec["group"])?,
        versions: served
            .filter_map(|version| text(&version["name"]))
            .collect(),
        plural: text(&spec["names"]["plural"])?,
        kind: text(&spec["names"]["kind"])?,
        short_names: short_names.unwrap_or_default(),
        namespaced: spec["scope"] == "Namespaced",
        has_status: versions
            .iter()
            .any(|version| version["subresources"]["status"].is_object()),
        custom: true,
    })
}
