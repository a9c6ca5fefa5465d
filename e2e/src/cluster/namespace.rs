//! A namespace of a test, with what is in it.

use std::time::Instant;

use plexus_apiserver::{Client, ClientResponse, StreamItem};
use serde_json::{Value, json};

use super::{Cluster, DEFINITIONS, PATIENCE};
use crate::Pod;

/// A namespace. What is in it goes away with it when this is dropped.
#[derive(Debug)]
pub struct Namespace<'c> {
    cluster: &'c Cluster,
    name: String,
}

impl<'c> Namespace<'c> {
    /// Makes one, and the service account that pods in it have.
    pub(super) fn new(cluster: &'c Cluster) -> Self {
        let client = cluster.client();
        let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "plexus-e2e-"}});
        let made = expect(client.post("/api/v1/namespaces", &body));
        let name = made["metadata"]["name"]
            .as_str()
            .expect("it has a name")
            .to_owned();
        let namespace = Self { cluster, name };
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let made = client
            .post(&namespace.path("serviceaccounts"), &account)
            .expect("the API server answers");
        // The controller of a real cluster may have been quicker.
        assert!(
            matches!(made.code, 201 | 409),
            "{} {}",
            made.code,
            made.text
        );
        namespace
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes a network attachment definition with this configuration.
    pub fn definition(&self, name: &str, config: &Value) {
        let body = json!({
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": name},
            "spec": {"config": config.to_string()},
        });
        expect(self.client().post(&self.path(DEFINITIONS), &body));
    }

    /// Removes a network attachment definition.
    pub fn remove_definition(&self, name: &str) {
        expect(
            self.client()
                .delete(&format!("{}/{name}", self.path(DEFINITIONS))),
        );
    }

    /// Makes a pod that is bound to `node`. The answer is the pod as it is in the cluster: with this namespace, and the
    /// UID that the API server gave it.
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
        let made = expect(self.client().post(&self.path("pods"), &body));
        let uid = made["metadata"]["uid"]
            .as_str()
            .expect("it has a UID")
            .to_owned();
        Pod {
            namespace: self.name.clone(),
            uid,
            ..pod.clone()
        }
    }

    /// A pod, where it is there.
    pub fn get_pod(&self, name: &str) -> Option<Value> {
        let answer = self
            .client()
            .get(&format!("{}/{name}", self.path("pods")))
            .expect("the API server answers");
        (answer.code != 404).then(|| expect(Ok(answer)))
    }

    /// Merges these annotations into a pod; null takes one away.
    pub fn annotate_pod(&self, name: &str, annotations: &Value) {
        let patch = json!({"metadata": {"annotations": annotations}});
        expect(
            self.client()
                .merge_patch(&format!("{}/{name}", self.path("pods")), &patch),
        );
    }

    /// Removes a pod at once.
    pub fn remove_pod(&self, name: &str) {
        expect(self.client().delete(&format!(
            "{}/{name}?gracePeriodSeconds=0",
            self.path("pods")
        )));
    }

    /// Waits until a pod is as `wanted` says, and gives it.
    pub fn wait_for_pod(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(
            &format!(
                "{}?watch=true&fieldSelector=metadata.name%3D{name}",
                self.path("pods")
            ),
            wanted,
        )
    }

    /// Waits until a pod has this annotation, and gives its text.
    pub fn wait_for_annotation(&self, name: &str, key: &str) -> String {
        let pod = self.wait_for_pod(name, |pod| pod["metadata"]["annotations"][key].is_string());
        pod["metadata"]["annotations"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The events about a pod so far.
    pub fn events(&self, pod: &str) -> Vec<Value> {
        let path = format!(
            "{}?fieldSelector=involvedObject.name%3D{pod}",
            self.path("events")
        );
        expect(self.client().get(&path))["items"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    }

    /// Waits for an event about a pod that is as `wanted` says.
    pub fn wait_for_event(&self, pod: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(
            &format!(
                "{}?watch=true&fieldSelector=involvedObject.name%3D{pod}",
                self.path("events")
            ),
            wanted,
        )
    }

    fn wait_for(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        let mut last = Value::Null;
        let mut lines = self
            .client()
            .stream(path, &[])
            .expect("the API server answers");
        loop {
            match lines.next(end.saturating_duration_since(Instant::now())) {
                StreamItem::Document(mut event)
                    if event["type"] != "DELETED" && wanted(&event["object"]) =>
                {
                    return event["object"].take();
                }
                StreamItem::Document(event) => last = event,
                other => panic!("what was waited for did not come, but {other:?}; last was {last}"),
            }
        }
    }

    fn client(&self) -> &'c Client {
        self.cluster.client()
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
        if let Some(server) = self.cluster.server() {
            server.clear_faults();
            server.resume();
        }
        // Nobody runs the pods, so nobody would say that they have ended.
        for path in [
            format!("{}?gracePeriodSeconds=0", self.path("pods")),
            format!("/api/v1/namespaces/{}", self.name),
        ] {
            let gone = self.client().delete(&path);
            let done = gone.as_ref().is_ok_and(|answer| answer.code < 300);
            assert!(
                done || std::thread::panicking(),
                "{path} is left behind: {gone:?}"
            );
        }
    }
}

fn expect(answer: anyhow::Result<ClientResponse>) -> Value {
    answer
        .and_then(|answer| answer.success())
        .unwrap_or_else(|error| panic!("{error:#}"))
}
