//! A namespace of a test.

use std::time::{Duration, Instant};

use plexus_apiserver::{ApiServer, Client, ClientResponse, StreamItem};
use serde_json::{Value, json};

use crate::Pod;

/// The resource of network attachment definitions.
pub const DEFINITIONS: &str = "network-attachment-definitions.k8s.cni.cncf.io";
/// How long anything may take in a real cluster.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A namespace. Dropping this deletes the namespace with all its objects.
#[derive(Debug)]
pub struct Namespace<'c> {
    client: &'c Client,
    server: Option<&'c ApiServer>,
    name: String,
}

impl<'c> Namespace<'c> {
    /// Creates a namespace and the service account of its pods.
    pub(super) fn new(client: &'c Client, server: Option<&'c ApiServer>) -> Self {
        let body = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"generateName": "plexus-e2e-"},
        });
        let created = expect(client.post("/api/v1/namespaces", &body));
        let name = text(&created["metadata"]["name"]);
        let namespace = Self {
            client,
            server,
            name,
        };
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let created = client
            .post(&namespace.path("serviceaccounts"), &account)
            .expect("a response");
        // In a real cluster a controller may have created the account already.
        assert!(
            matches!(created.code, 201 | 409),
            "{} {}",
            created.code,
            created.text
        );
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates a network attachment definition.
    pub fn definition(&self, name: &str, config: &Value) {
        let body = json!({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name},
            "spec": {"config": config.to_string()},
        });
        expect(self.client.post(&self.path(DEFINITIONS), &body));
    }

    /// Deletes a network attachment definition.
    pub fn remove_definition(&self, name: &str) {
        let path = format!("{}/{name}", self.path(DEFINITIONS));
        expect(self.client.delete(&path));
    }

    /// Creates a pod that is bound to `node`. Returns the pod with this namespace and the UID of
    /// the API server.
    pub fn pod(&self, pod: &Pod, node: &str) -> Pod {
        let body = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod.name, "annotations": pod.annotations},
            "spec": {
                "nodeName": node,
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "main", "image": "registry.invalid/none"}],
            },
        });
        let created = expect(self.client.post(&self.path("pods"), &body));
        pod.clone()
            .in_namespace(&self.name)
            .with_uid(&text(&created["metadata"]["uid"]))
    }

    /// A pod, or `None` if it does not exist.
    pub fn get_pod(&self, name: &str) -> Option<Value> {
        let response = self.client.get(&self.pod_path(name)).expect("a response");
        (response.code != 404).then(|| expect(Ok(response)))
    }

    /// Merges these annotations into a pod. `null` removes an annotation.
    pub fn annotate_pod(&self, name: &str, annotations: &Value) {
        let patch = json!({"metadata": {"annotations": annotations}});
        expect(self.client.merge_patch(&self.pod_path(name), &patch));
    }

    /// Deletes a pod without a grace period.
    pub fn remove_pod(&self, name: &str) {
        let path = format!("{}?gracePeriodSeconds=0", self.pod_path(name));
        expect(self.client.delete(&path));
    }

    /// Waits until a pod satisfies `condition`, and returns it.
    pub fn wait_for_pod(&self, name: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let path = format!(
            "{}?watch=true&fieldSelector=metadata.name%3D{name}",
            self.path("pods")
        );
        self.wait_for(&path, condition)
    }

    /// Waits until a pod has this annotation, and returns its value.
    pub fn wait_for_annotation(&self, name: &str, key: &str) -> String {
        let pod = self.wait_for_pod(name, |pod| pod["metadata"]["annotations"][key].is_string());
        text(&pod["metadata"]["annotations"][key])
    }

    /// The events about a pod so far.
    pub fn events(&self, pod: &str) -> Vec<Value> {
        let path = format!(
            "{}?fieldSelector=involvedObject.name%3D{pod}",
            self.path("events")
        );
        expect(self.client.get(&path))["items"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Waits for an event about a pod that satisfies `condition`.
    pub fn wait_for_event(&self, pod: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let path = format!(
            "{}?watch=true&fieldSelector=involvedObject.name%3D{pod}",
            self.path("events")
        );
        self.wait_for(&path, condition)
    }

    fn wait_for(&self, path: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + TIMEOUT;
        let mut last = Value::Null;
        let mut events = self.client.stream(path, &[]).expect("a response");
        loop {
            match events.next(end.saturating_duration_since(Instant::now())) {
                StreamItem::Document(mut event)
                    if event["type"] != "DELETED" && condition(&event["object"]) =>
                {
                    return event["object"].take();
                }
                StreamItem::Document(event) => last = event,
                other => panic!("the watch ended with {other:?}; the last event was {last}"),
            }
        }
    }

    fn pod_path(&self, name: &str) -> String {
        format!("{}/{name}", self.path("pods"))
    }

    fn path(&self, resource: &str) -> String {
        match resource.split_once('.') {
            Some((plural, group)) => format!("/apis/{group}/v1/namespaces/{}/{plural}", self.name),
            None => format!("/api/v1/namespaces/{}/{resource}", self.name),
        }
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if let Some(server) = self.server {
            server.clear_faults();
            server.resume();
        }
        // No kubelet runs the pods, so nothing would report that they have ended.
        for path in [
            format!("{}?gracePeriodSeconds=0", self.path("pods")),
            format!("/api/v1/namespaces/{}", self.name),
        ] {
            let response = self.client.delete(&path);
            let done = response.as_ref().is_ok_and(|response| response.code < 300);
            assert!(
                done || std::thread::panicking(),
                "{path} was not deleted: {response:?}"
            );
        }
    }
}

fn expect(response: anyhow::Result<ClientResponse>) -> Value {
    response
        .and_then(|response| response.success())
        .unwrap_or_else(|error| panic!("{error:#}"))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
