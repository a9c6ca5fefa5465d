//! The objects of a manifest.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A path from the root of the repository.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is above")
        .join(path)
}

/// The text of a file of the repository.
pub fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The documents of a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// The objects of some manifests.
#[derive(Debug, Clone)]
pub struct Objects(pub Vec<Value>);

impl Objects {
    /// Those of `deploy/node`, as they are written.
    pub fn of_node() -> Self {
        let files = ["access", "admission-policy", "daemon-set"]
            .map(|name| read(&format!("deploy/node/{name}.yaml")));
        Self(files.iter().flat_map(|text| documents(text)).collect())
    }

    /// Those of a kind.
    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.0
            .iter()
            .filter(|object| object["kind"] == kind)
            .collect()
    }

    /// The only one of a kind.
    pub fn one(&self, kind: &str) -> &Value {
        match self.all(kind)[..] {
            [object] => object,
            ref other => panic!("{} of the kind {kind}", other.len()),
        }
    }

    /// The one of a kind and a name.
    pub fn named(&self, kind: &str, name: &str) -> &Value {
        let found = self
            .all(kind)
            .into_iter()
            .find(|object| object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// The directories of the node that the DaemonSet mounts, by the name of the volume.
    pub fn host_path(&self, volume: &str) -> &str {
        let volumes = self.pod_spec()["volumes"].as_array().expect("volumes");
        let found = volumes.iter().find(|other| other["name"] == volume);
        let path =
            found.unwrap_or_else(|| panic!("no volume {volume}"))["hostPath"]["path"].as_str();
        path.unwrap_or_else(|| panic!("{volume} has no path"))
    }

    /// What the DaemonSet's pods are.
    pub fn pod_spec(&self) -> &Value {
        &self.one("DaemonSet")["spec"]["template"]["spec"]
    }

    /// The only container.
    pub fn container(&self) -> &Value {
        match &self.pod_spec()["containers"]
            .as_array()
            .expect("containers")[..]
        {
            [container] => container,
            other => panic!("{} containers", other.len()),
        }
    }
}

/// Panics if the API server would find a key that its kind does not have, or a value of another type.
pub fn check_schema(object: &Value) {
    match object["kind"].as_str().expect("a kind") {
        "ClusterRole" => round_trip::<ClusterRole>(object),
        "ClusterRoleBinding" => round_trip::<ClusterRoleBinding>(object),
        "ConfigMap" => round_trip::<ConfigMap>(object),
        "CustomResourceDefinition" => round_trip::<CustomResourceDefinition>(object),
        "DaemonSet" => round_trip::<DaemonSet>(object),
        "ServiceAccount" => round_trip::<ServiceAccount>(object),
        "ValidatingAdmissionPolicy" => round_trip::<ValidatingAdmissionPolicy>(object),
        "ValidatingAdmissionPolicyBinding" => {
            round_trip::<ValidatingAdmissionPolicyBinding>(object);
        }
        other => panic!("a bare cluster does not know the kind {other}"),
    }
}

/// What is lost on the way through the type is not in the schema.
fn round_trip<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone())
        .unwrap_or_else(|error| panic!("{error}: {object:#}"));
    let known = serde_json::to_value(&typed).expect("it can be written");
    let mut lost = Vec::new();
    compare(object, &known, "", &mut lost);
    assert!(
        lost.is_empty(),
        "not in the schema of {}: {lost:?}",
        object["kind"]
    );
}

fn compare(written: &Value, known: &Value, path: &str, lost: &mut Vec<String>) {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            for (key, value) in written {
                let path = format!("{path}/{key}");
                match known.get(key) {
                    Some(known) => compare(value, known, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(known)) if written.len() == known.len() => {
            for (index, (written, known)) in written.iter().zip(known).enumerate() {
                compare(written, known, &format!("{path}/{index}"), lost);
            }
        }
        _ if written == known => {}
        _ => lost.push(path.to_owned()),
    }
}
