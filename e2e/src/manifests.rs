//! A directory of manifests, from which a daemon serves pods and definitions without a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A pod.
#[derive(Debug, Clone)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub annotations: BTreeMap<String, String>,
}

/// A directory for `--manifests`.
#[derive(Debug)]
pub struct Manifests {
    dir: PathBuf,
}

impl Pod {
    /// A pod in the namespace `default`, without annotations.
    pub fn new(name: &str) -> Self {
        Self {
            namespace: "default".into(),
            name: name.into(),
            uid: format!("uid-of-{name}"),
            annotations: BTreeMap::new(),
        }
    }

    /// Moves the pod to another namespace.
    #[must_use]
    pub fn in_namespace(self, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            ..self
        }
    }

    /// Sets the UID.
    #[must_use]
    pub fn with_uid(self, uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            ..self
        }
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Adds the annotation that selects `networks`.
    #[must_use]
    pub fn with_networks(self, networks: impl Into<String>) -> Self {
        self.annotated("k8s.v1.cni.cncf.io/networks", networks)
    }
}

impl Manifests {
    /// Uses `dir`, and creates it if it is missing.
    pub fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        Self { dir }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a definition in the namespace `default`.
    pub fn definition(&self, name: &str, config: &Value) {
        self.definition_in("default", name, Some(&config.to_string()));
    }

    /// Writes a definition with this text as its configuration, or without a configuration.
    pub fn definition_in(&self, namespace: &str, name: &str, config: Option<&str>) {
        let mut manifest = definition(namespace, name);
        if let Some(config) = config {
            manifest["spec"] = json!({"config": config});
        }
        self.write(&format!("definition-{namespace}-{name}.yaml"), &manifest);
    }

    /// Writes a definition in the namespace `default` whose pods get a device of `resource`.
    pub fn device_definition(&self, name: &str, resource: &str, config: &Value) {
        let mut manifest = definition("default", name);
        manifest["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/resourceName": resource});
        manifest["spec"] = json!({"config": config.to_string()});
        self.write(&format!("definition-default-{name}.yaml"), &manifest);
    }

    /// Removes a definition of the namespace `default`.
    pub fn remove_definition(&self, name: &str) {
        let file = format!("definition-default-{name}.yaml");
        let _ = fs::remove_file(self.dir.join(file));
    }

    /// Writes a pod.
    pub fn pod(&self, pod: &Pod) {
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod.name, "namespace": pod.namespace, "uid": pod.uid,
                "annotations": pod.annotations,
            },
        });
        self.write(&pod_file(pod), &manifest);
    }

    /// Removes a pod.
    pub fn remove_pod(&self, pod: &Pod) {
        let _ = fs::remove_file(self.dir.join(pod_file(pod)));
    }

    /// Replaces a file atomically, so that the daemon never reads half of it. JSON is valid YAML.
    fn write(&self, file: &str, manifest: &Value) {
        let temporary = self.dir.join(format!(".{file}.new"));
        fs::write(&temporary, manifest.to_string())
            .and_then(|()| fs::rename(&temporary, self.dir.join(file)))
            .expect("write a manifest");
    }
}

fn definition(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": namespace},
    })
}

fn pod_file(pod: &Pod) -> String {
    format!("pod-{}-{}.yaml", pod.namespace, pod.name)
}
