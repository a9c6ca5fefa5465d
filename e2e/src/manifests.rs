//! The cluster that a daemon serves from files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A directory of manifests, for `--manifests`.
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

    /// The same pod with an annotation.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// The same pod with the annotation that selects `networks`.
    #[must_use]
    pub fn with_networks(self, networks: impl Into<String>) -> Self {
        self.annotated("k8s.v1.cni.cncf.io/networks", networks)
    }
}

impl Manifests {
    /// An empty directory at `dir`, which is made where it is not there.
    pub fn new(dir: PathBuf) -> Self {
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        Self { dir }
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a definition in the namespace `default` with this configuration.
    pub fn definition(&self, name: &str, config: &Value) {
        self.definition_in("default", name, Some(&config.to_string()));
    }

    /// Writes a definition with this text as its configuration, or with none.
    pub fn definition_in(&self, namespace: &str, name: &str, config: Option<&str>) {
        let mut manifest = json!({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name, "namespace": namespace},
        });
        if let Some(config) = config {
            manifest["spec"] = json!({"config": config});
        }
        self.write(&format!("definition-{namespace}-{name}.yaml"), &manifest);
    }

    /// Removes a definition of the namespace `default`.
    pub fn remove_definition(&self, name: &str) {
        let _ = fs::remove_file(self.dir.join(format!("definition-default-{name}.yaml")));
    }

    /// Writes a pod.
    pub fn pod(&self, pod: &Pod) {
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod.name, "namespace": pod.namespace, "uid": pod.uid, "annotations": pod.annotations,
            },
        });
        self.write(
            &format!("pod-{}-{}.yaml", pod.namespace, pod.name),
            &manifest,
        );
    }

    /// Removes a pod.
    pub fn remove_pod(&self, pod: &Pod) {
        let _ = fs::remove_file(
            self.dir
                .join(format!("pod-{}-{}.yaml", pod.namespace, pod.name)),
        );
    }

    /// Writes a file at once: who watches the directory never sees half of it. JSON is YAML.
    fn write(&self, file: &str, manifest: &Value) {
        let temporary = self.dir.join(format!(".{file}.new"));
        let written = fs::write(&temporary, manifest.to_string());
        written
            .and_then(|()| fs::rename(&temporary, self.dir.join(file)))
            .expect("a manifest can be written");
    }
}
