//! Objects and helpers that the tests share.

use std::time::Duration;

use plexus_apiserver::{
    ApiServer, Client, ClientResponse, LineStream, StreamItem, network_attachment_definition_crd,
};
use serde_json::{Value, json};

/// The path of the pods in the namespace `default`.
pub const PODS: &str = "/api/v1/namespaces/default/pods";
/// The path of the network attachment definitions in the namespace `default`.
pub const DEFINITIONS: &str =
    "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";
/// The timeout for anything that must happen.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A server, and a client without restrictions.
pub fn server() -> (ApiServer, Client) {
    let server = ApiServer::start();
    let client = client(&server, "admin");
    (server, client)
}

/// A client with the credentials of a user.
pub fn client(server: &ApiServer, user: &str) -> Client {
    Client::new(&server.credentials(user)).expect("valid credentials")
}

/// A pod in the namespace `default`.
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

/// A network attachment definition in the namespace `default`.
pub fn definition(name: &str) -> Value {
    json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": "default"}, "spec": {"config": "{}"},
    })
}

/// Installs the CRD of network attachment definitions.
pub fn install_crd(server: &ApiServer) {
    server.create(&network_attachment_definition_crd());
}

/// Sends a patch of this media type.
pub fn patch(client: &Client, path: &str, media_type: &str, patch: &Value) -> ClientResponse {
    client
        .send_json("PATCH", path, media_type, patch)
        .expect("response")
}

/// Checks that the response is a `Status` with this code and reason, and with `text` in its
/// message.
pub fn expect_error(response: &ClientResponse, code: u16, reason: &str, text: &str) {
    let status = response.json();
    assert_eq!(
        (response.code, &status["code"]),
        (code, &json!(code)),
        "{status}"
    );
    assert_eq!(
        (&status["kind"], &status["reason"]),
        (&json!("Status"), &json!(reason)),
        "{status}"
    );
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|message| message.contains(text)),
        "{status}"
    );
}

/// The type of the next event of a watch and the name of its object, such as `ADDED a`.
pub fn event(stream: &mut LineStream) -> String {
    let event = stream.document();
    let event_type = event["type"].as_str().unwrap_or_default();
    let name = event["object"]["metadata"]["name"]
        .as_str()
        .unwrap_or_default();
    format!("{event_type} {name}").trim_end().to_owned()
}

/// Checks that the watch sends nothing for longer than an event needs.
pub fn expect_silence(stream: &mut LineStream) {
    assert_eq!(stream.next(Duration::from_millis(100)), StreamItem::Timeout);
}

/// The names of the items of a list.
pub fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str())
        .collect()
}

/// Encodes text for a query.
pub fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
