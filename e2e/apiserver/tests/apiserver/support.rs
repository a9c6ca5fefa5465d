//! What the tests begin with.

use std::time::Duration;

use plexus_apiserver::{
    ApiServer, Client, LineStream, StreamItem, network_attachment_definition_crd,
};
use serde_json::{Value, json};

/// The pods of the namespace `default`.
pub const PODS: &str = "/api/v1/namespaces/default/pods";
/// The definitions of the namespace `default`.
pub const DEFINITIONS: &str =
    "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";
/// How long a failing test waits.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A server, and a client that may do everything.
pub fn server() -> (ApiServer, Client) {
    let server = ApiServer::start();
    let client = client(&server, "admin");
    (server, client)
}

/// A client of this user.
pub fn client(server: &ApiServer, user: &str) -> Client {
    Client::new(&server.credentials(user)).expect("the credentials are good")
}

/// A pod of the namespace `default`.
pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "image"}]},
    })
}

/// A pod that is bound to a node.
pub fn pod_on(name: &str, node: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["nodeName"] = node.into();
    pod
}

/// A pod with labels.
pub fn labelled(name: &str, labels: &Value) -> Value {
    let mut pod = pod(name);
    pod["metadata"]["labels"] = labels.clone();
    pod
}

/// A definition of the namespace `default`.
pub fn definition(name: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"config": "{}"},
    })
}

/// Makes the definitions known.
pub fn with_definitions(server: &ApiServer) {
    server.create(&network_attachment_definition_crd());
}

/// `ADDED name` of the next event of a watch.
pub fn event(lines: &mut LineStream) -> String {
    let event = lines.document();
    let what = event["object"]["metadata"]["name"]
        .as_str()
        .unwrap_or_default();
    format!("{} {what}", event["type"].as_str().unwrap_or_default())
        .trim_end()
        .to_owned()
}

/// That the watch says nothing for as long as a change would take.
pub fn expect_silence(lines: &mut LineStream) {
    assert_eq!(lines.next(Duration::from_millis(100)), StreamItem::Timeout);
}

/// The names of a list.
pub fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("a list has items");
    items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect()
}

/// A text as it stands in a query.
pub fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
