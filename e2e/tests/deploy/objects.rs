//! The objects of manifests.

use std::path::PathBuf;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use plexus_e2e::workspace::{self, read};
use plexus_e2e::yaml;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The path of a file, from the root of the repository.
pub fn root(path: &str) -> PathBuf {
    workspace::root().join(path)
}

/// The documents in a YAML text.
pub fn documents(text: &str) -> Vec<Value> {
    yaml::documents(text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

/// Objects of any kind.
#[derive(Debug, Clone)]
pub struct Objects(pub Vec<Value>);

impl Objects {
    /// The objects in `deploy/node`, as written.
    pub fn of_node() -> Self {
        let files = ["access", "admission-policy", "daemon-set"]
            .map(|name| read(&format!("deploy/node/{name}.yaml")));
        Self(files.iter().flat_map(|text| documents(text)).collect())
    }

    /// All objects of a kind.
    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.0
            .iter()
            .filter(|object| object["kind"] == kind)
            .collect()
    }

    /// The only object of a kind.
    pub fn one(&self, kind: &str) -> &Value {
        match self.all(kind)[..] {
            [object] => object,
            ref other => panic!("{} objects of the kind {kind}", other.len()),
        }
    }

    /// The object with this kind and name.
    pub fn named(&self, kind: &str, name: &str) -> &Value {
        let found = self
            .all(kind)
            .into_iter()
            .find(|object| object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// The directory of the node that the DaemonSet mounts as this volume.
    pub fn host_path(&self, volume: &str) -> &str {
        let volumes = self.pod_spec()["volumes"].as_array().expect("volumes");
        let found = volumes.iter().find(|other| other["name"] == volume);
        let path =
            found.unwrap_or_else(|| panic!("no volume {volume}"))["hostPath"]["path"].as_str();
        path.unwrap_or_else(|| panic!("{volume} has no path"))
    }

    /// The specification of the DaemonSet's pods.
    pub fn pod_spec(&self) -> &Value {
        &self.one("DaemonSet")["spec"]["template"]["spec"]
    }

    /// The only container of the DaemonSet.
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

/// Panics if an object has a key that its kind does not have, or a value of the wrong type.
pub fn check_schema(object: &Value) {
    match object["kind"].as_str().expect("a kind") {
        "ClusterRole" => round_trip::<ClusterRole>(object),
        "ClusterRoleBinding" => round_trip::<ClusterRoleBinding>(object),
        "ConfigMap" => round_trip::<ConfigMap>(object),
        "CustomResourceDefinition" => round_trip::<CustomResourceDefinition>(object),
        "DaemonSet" => round_trip::<DaemonSet>(object),
        "Job" => round_trip::<Job>(object),
        "Pod" => round_trip::<Pod>(object),
        "Service" => round_trip::<Service>(object),
        "ServiceAccount" => round_trip::<ServiceAccount>(object),
        "ValidatingAdmissionPolicy" => round_trip::<ValidatingAdmissionPolicy>(object),
        "ValidatingAdmissionPolicyBinding" => {
            round_trip::<ValidatingAdmissionPolicyBinding>(object);
        }
        other => panic!("{other} is not a kind of Kubernetes itself"),
    }
}

/// Deserializes and serializes an object. Keys that are lost are not in the schema.
fn round_trip<T: DeserializeOwned + Serialize>(object: &Value) {
    let typed: T = serde_json::from_value(object.clone())
        .unwrap_or_else(|error| panic!("{error}: {object:#}"));
    let kept = serde_json::to_value(&typed).expect("JSON");
    let mut lost = Vec::new();
    compare(object, &kept, "", &mut lost);
    assert!(
        lost.is_empty(),
        "not in the schema of {}: {lost:?}",
        object["kind"]
    );
}

fn compare(written: &Value, kept: &Value, path: &str, lost: &mut Vec<String>) {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => {
            for (key, value) in written {
                let path = format!("{path}/{key}");
                match kept.get(key) {
                    Some(kept) => compare(value, kept, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(written), Value::Array(kept)) if written.len() == kept.len() => {
            for (index, (written, kept)) in written.iter().zip(kept).enumerate() {
                compare(written, kept, &format!("{path}/{index}"), lost);
            }
        }
        _ if written == kept => {}
        _ => lost.push(path.to_owned()),
    }
}
