//! Watches: what they tell, from where, and how they end.

use std::time::{Duration, Instant};

use plexus_apiserver::{Client, LineStream, StreamItem};
use serde_json::json;

use crate::support::{
    DEFINITIONS, PODS, TIMEOUT, definition, encoded, event, expect_silence, labelled, pod, pod_on,
    server, with_definitions,
};

fn watch(client: &Client, query: &str) -> LineStream {
    let lines = client
        .stream(&format!("/api/v1/pods?watch=true&{query}"), &[])
        .expect("response");
    assert_eq!(lines.code, 200);
    lines
}

#[test]
fn changes_are_told_in_order_from_a_resource_version_on() {
    let (server, client) = server();
    server.create(&pod("before"));
    let from = server.resource_version();
    server.create(&pod("a"));
    server
        .patch(
            "pods",
            "default",
            "a",
            &json!({"metadata": {"labels": {"x": "1"}}}),
        )
        .expect("it is there");
    let mut lines = watch(&client, &format!("resourceVersion={from}"));
    assert_eq!(event(&mut lines), "ADDED a");
    let modified = lines.document();
    assert_eq!(
        (
            &modified["type"],
            &modified["object"]["metadata"]["labels"]["x"]
        ),
        (&json!("MODIFIED"), &json!("1"))
    );
    assert_eq!(
        (
            &modified["object"]["kind"],
            &modified["object"]["apiVersion"]
        ),
        (&json!("Pod"), &json!("v1"))
    );
    server.delete("pods", "default", "a");
    let deleted = lines.document();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(
        deleted["object"]["metadata"]["resourceVersion"],
        server.resource_version().to_string()
    );
    assert_eq!(
        deleted["object"]["metadata"]["uid"],
        modified["object"]["metadata"]["uid"]
    );
    // What other resources do is none of its business.
    server.create(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}));
    expect_silence(&mut lines);
}

#[test]
fn a_watch_from_nowhere_begins_with_what_is_there() {
    let (server, client) = server();
    server.create(&pod("a"));
    server.create(&pod("b"));
    for query in ["", "resourceVersion=0"] {
        let mut lines = watch(&client, query);
        assert_eq!(
            [event(&mut lines), event(&mut lines)],
            ["ADDED a", "ADDED b"],
            "{query}"
        );
        expect_silence(&mut lines);
    }
    let mut one = client
        .stream(&format!("{PODS}/b?watch=1"), &[])
        .expect("response");
    assert_eq!(event(&mut one), "ADDED b");
    server.delete("pods", "default", "a");
    server.delete("pods", "default", "b");
    assert_eq!(event(&mut one), "DELETED b");
}

#[test]
fn an_object_comes_and_goes_with_the_selection() {
    let (server, client) = server();
    server.create(&labelled("a", &json!({"app": "web"})));
    server.create(&labelled("b", &json!({"app": "db"})));
    let from = server.resource_version();
    let mut labels = watch(
        &client,
        &format!(
            "resourceVersion={from}&labelSelector={}",
            encoded("app in (web)")
        ),
    );
    let mut fields = watch(
        &client,
        &format!("resourceVersion={from}&fieldSelector=status.phase%3DRunning"),
    );
    let label = |name: &str, app: &str| {
        server
            .patch(
                "pods",
                "default",
                name,
                &json!({"metadata": {"labels": {"app": app}}}),
            )
            .expect("it is there");
    };
    label("a", "db");
    let gone = labels.document();
    assert_eq!(
        (&gone["type"], &gone["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("a"))
    );
    // The last state that was selected, with the resource version of the change.
    assert_eq!(gone["object"]["metadata"]["labels"]["app"], "web");
    assert_eq!(
        gone["object"]["metadata"]["resourceVersion"],
        server.resource_version().to_string()
    );
    label("b", "web");
    assert_eq!(event(&mut labels), "ADDED b");
    server.delete("pods", "default", "a");
    server.delete("pods", "default", "b");
    assert_eq!(event(&mut labels), "DELETED b");
    expect_silence(&mut labels);

    server.create(&pod_on("c", "n1"));
    let phase = |phase: &str| {
        let status = json!({"status": {"phase": phase}});
        server
            .patch("pods/status", "default", "c", &status)
            .expect("it is there");
    };
    phase("Running");
    phase("Succeeded");
    assert_eq!(
        [event(&mut fields), event(&mut fields)],
        ["ADDED c", "DELETED c"]
    );
}

#[test]
fn a_resource_version_of_a_forgotten_past_is_told_as_an_event() {
    let (server, client) = server();
    let from = server.resource_version();
    let mut running = watch(&client, &format!("resourceVersion={from}"));
    server.create(&pod("a"));
    server.compact();
    let mut late = watch(&client, &format!("resourceVersion={from}"));
    let error = late.document();
    assert_eq!(error["type"], "ERROR");
    let status = &error["object"];
    assert_eq!(
        (&status["kind"], &status["code"], &status["reason"]),
        (&json!("Status"), &json!(410), &json!("Expired"))
    );
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("too old resource version: ")),
        "{status}"
    );
    assert_eq!(late.next(TIMEOUT), StreamItem::End);
    // Who watched all the time misses nothing.
    server.create(&pod("b"));
    assert_eq!(
        [event(&mut running), event(&mut running)],
        ["ADDED a", "ADDED b"]
    );
}

#[test]
fn bookmarks_come_to_who_wants_them() {
    let (server, client) = server();
    let from = server.resource_version();
    let mut with = watch(
        &client,
        &format!("resourceVersion={from}&allowWatchBookmarks=true"),
    );
    let mut without = watch(&client, &format!("resourceVersion={from}"));
    server.create(&pod("a"));
    assert_eq!(
        [event(&mut with), event(&mut without)],
        ["ADDED a", "ADDED a"]
    );
    server.compact();
    server.bookmark();
    let bookmark = with.document();
    assert_eq!(
        (&bookmark["type"], &bookmark["object"]["kind"]),
        (&json!("BOOKMARK"), &json!("Pod"))
    );
    let version = bookmark["object"]["metadata"]["resourceVersion"]
        .as_str()
        .expect("a resource version");
    expect_silence(&mut without);
    // It was worth it: from there the past is not forgotten.
    server.create(&pod("b"));
    assert_eq!(
        event(&mut watch(&client, &format!("resourceVersion={version}"))),
        "ADDED b"
    );
}

#[test]
fn a_watch_can_begin_with_a_list() {
    let (server, client) = server();
    server.create(&pod_on("a", "n1"));
    server.create(&pod_on("b", "n2"));
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = watch(
        &client,
        &format!("{query}&fieldSelector=spec.nodeName%3Dn1"),
    );
    assert_eq!(event(&mut lines), "ADDED a");
    let bookmark = lines.document();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(
        bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        bookmark["object"]["metadata"]["resourceVersion"],
        server.resource_version().to_string()
    );
    server.create(&pod_on("c", "n1"));
    assert_eq!(event(&mut lines), "ADDED c");
    for wrong in [
        "sendInitialEvents=true",
        "resourceVersionMatch=NotOlderThan",
        "sendInitialEvents=true&resourceVersion=1&resourceVersionMatch=Exact",
    ] {
        let refused = client
            .get(&format!("/api/v1/pods?watch=true&{wrong}"))
            .expect("response");
        assert_eq!(
            (refused.code, &refused.json()["reason"]),
            (422, &json!("Invalid")),
            "{wrong}: {}",
            refused.text
        );
    }
}

#[test]
fn a_watch_ends_in_its_time() {
    let (_server, client) = server();
    let begin = Instant::now();
    let mut lines = watch(
        &client,
        "timeoutSeconds=1&resourceVersion=1&allowWatchBookmarks=true",
    );
    loop {
        match lines.next(TIMEOUT) {
            StreamItem::Document(_) => {}
            other => break assert_eq!(other, StreamItem::End),
        }
    }
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[test]
fn metadata_alone_can_be_watched_and_listed() {
    let (server, client) = server();
    server.create(&pod("a"));
    let form = |kind: &str| format!("application/json;as={kind};g=meta.k8s.io;v=v1");
    let accept = form("PartialObjectMetadata");
    let mut lines = client.stream(
        "/api/v1/pods?watch=true&allowWatchBookmarks=true",
        &[("accept", &accept)],
    );
    let lines = lines.as_mut().expect("response");
    let added = lines.document();
    server.bookmark();
    let bookmark = lines.document();
    assert_eq!(
        (&added["type"], &bookmark["type"]),
        (&json!("ADDED"), &json!("BOOKMARK"))
    );
    let list = client.send(
        "GET",
        "/api/v1/pods",
        &[("accept", &form("PartialObjectMetadataList"))],
        None,
    );
    let list = list.expect("response").json();
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    let one = client
        .send("GET", &format!("{PODS}/a"), &[("accept", &accept)], None)
        .expect("response")
        .json();
    for object in [
        &added["object"],
        &bookmark["object"],
        &list["items"][0],
        &one,
    ] {
        assert_eq!(
            (&object["kind"], &object["apiVersion"]),
            (&json!("PartialObjectMetadata"), &json!("meta.k8s.io/v1"))
        );
        assert!(
            object.get("spec").is_none() && object["metadata"]["resourceVersion"].is_string(),
            "{object}"
        );
    }
    // A list is no object.
    assert_eq!(
        client
            .send("GET", PODS, &[("accept", &accept)], None)
            .expect("response")
            .code,
        406
    );
}

#[test]
fn a_custom_resource_can_be_watched_as_long_as_it_is_served() {
    let (server, client) = server();
    let path = format!("{DEFINITIONS}?watch=true");
    assert_eq!(client.get(&path).expect("response").code, 404);
    with_definitions(&server);
    let mut lines = client.stream(&path, &[]).expect("response");
    server.create(&definition("a"));
    assert_eq!(event(&mut lines), "ADDED a");
    server.delete(
        "customresourcedefinitions.apiextensions.k8s.io",
        "",
        "network-attachment-definitions.k8s.cni.cncf.io",
    );
    assert_eq!(event(&mut lines), "DELETED a");
    assert_eq!(lines.next(TIMEOUT), StreamItem::End);
    assert_eq!(client.get(&path).expect("response").code, 404);
}
