//! Label and field selectors.

use plexus_apiserver::{ApiServer, Client, ClientResponse};
use serde_json::json;

use crate::support::{
    DEFINITIONS, encoded, install_crd, labelled, names, pod_on, server as empty_server,
};

/// A server with pods that differ in labels, fields and namespace.
fn server() -> (ApiServer, Client) {
    let (server, client) = empty_server();
    server.create(&labelled("a", &json!({"app": "web", "tier": "1"})));
    server.create(&labelled("b", &json!({"app": "db", "tier": "2"})));
    server.create(&labelled("c", &json!({"app": "db"})));
    server.create(&pod_on("d", "n1"));
    server.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}));
    let mut elsewhere = pod_on("e", "n1");
    elsewhere["metadata"]["namespace"] = "other".into();
    server.create(&elsewhere);
    server.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "d", "namespace": "default"},
        "status": {"phase": "Running"},
    }));
    (server, client)
}

fn list(client: &Client, parameter: &str, selector: &str) -> ClientResponse {
    client
        .get(&format!("/api/v1/pods?{parameter}={}", encoded(selector)))
        .expect("response")
}

#[test]
fn label_selectors_filter_by_labels() {
    let (_server, client) = server();
    for (selector, expected) in [
        ("app=db", "b c"),
        ("app==db", "b c"),
        ("app!=db", "a d e"),
        ("app=db,tier=2", "b"),
        ("app in (web, db)", "a b c"),
        ("app in (web,db),tier notin (2)", "a c"),
        ("app", "a b c"),
        ("!app", "d e"),
        ("tier>1", "b"),
        ("tier<2", "a"),
        ("", "a b c d e"),
    ] {
        assert_eq!(
            names(&list(&client, "labelSelector", selector).json()).join(" "),
            expected,
            "{selector}"
        );
    }
}

#[test]
fn field_selectors_filter_by_fields() {
    let (_server, client) = server();
    for (selector, expected) in [
        ("metadata.name=a", "a"),
        ("metadata.name!=a", "b c d e"),
        ("metadata.namespace=other", "e"),
        ("spec.nodeName=n1", "d e"),
        ("spec.nodeName==n1,metadata.namespace=default", "d"),
        ("spec.nodeName=", "a b c"),
        ("status.phase=Running", "d"),
        ("status.phase!=Running,spec.nodeName=n1", "e"),
        ("spec.hostNetwork=false", "a b c d e"),
    ] {
        assert_eq!(
            names(&list(&client, "fieldSelector", selector).json()).join(" "),
            expected,
            "{selector}"
        );
    }
}

#[test]
fn a_namespaced_path_lists_one_namespace() {
    let (_server, client) = server();
    let list = client
        .get("/api/v1/namespaces/other/pods")
        .expect("response");
    assert_eq!(names(&list.json()), ["e"]);
}

#[test]
fn malformed_and_unsupported_selectors_are_refused() {
    let (server, client) = server();
    for (parameter, selector) in [
        ("fieldSelector", "spec.foo=1"),
        ("fieldSelector", "metadata.name"),
        ("labelSelector", "app in web"),
        ("labelSelector", "a b=c"),
        ("labelSelector", "app in (web"),
    ] {
        assert_eq!(list(&client, parameter, selector).code, 400, "{selector}");
    }
    install_crd(&server);
    let custom = client
        .get(&format!("{DEFINITIONS}?fieldSelector=spec.config%3Dx"))
        .expect("response");
    assert_eq!(custom.code, 400);
}
