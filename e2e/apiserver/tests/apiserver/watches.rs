//! Watches: their events, where they start, and how they end.

use std::time::{Duration, Instant};

use plexus_apiserver::{Client, LineStream, StreamItem};
use serde_json::json;

use crate::support::{
    DEFINITIONS, PODS, TIMEOUT, definition, encoded, event, expect_silence, install_crd, labelled,
    pod, pod_on, server,
};

fn watch(client: &Client, query: &str) -> LineStream {
    let stream = client
        .stream(&format!("/api/v1/pods?watch=true&{query}"), &[])
        .expect("response");
    assert_eq!(stream.code, 200);
    stream
}

#[test]
fn a_watch_reports_changes_in_order_from_a_resource_version() {
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
        .expect("patched");
    let mut stream = watch(&client, &format!("resourceVersion={from}"));
    assert_eq!(event(&mut stream), "ADDED a");
    let modified = stream.document();
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
    let deleted = stream.document();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(
        deleted["object"]["metadata"]["resourceVersion"],
        server.resource_version().to_string()
    );
    assert_eq!(
        deleted["object"]["metadata"]["uid"],
        modified["object"]["metadata"]["uid"]
    );
    // Changes of other resources are not reported.
    server.create(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}));
    expect_silence(&mut stream);
}

#[test]
fn a_watch_without_a_resource_version_starts_with_the_existing_objects() {
    let (server, client) = server();
    server.create(&pod("a"));
    server.create(&pod("b"));
    for query in ["", "resourceVersion=0"] {
        let mut stream = watch(&client, query);
        assert_eq!(
            [event(&mut stream), event(&mut stream)],
            ["ADDED a", "ADDED b"],
            "{query}"
        );
        expect_silence(&mut stream);
    }
    let mut single = client
        .stream(&format!("{PODS}/b?watch=1"), &[])
        .expect("response");
    assert_eq!(event(&mut single), "ADDED b");
    server.delete("pods", "default", "a");
    server.delete("pods", "default", "b");
    assert_eq!(event(&mut single), "DELETED b");
}

#[test]
fn an_object_that_enters_or_leaves_the_selection_is_added_or_deleted() {
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
            .expect("patched");
    };
    label("a", "db");
    let gone = labels.document();
    assert_eq!(
        (&gone["type"], &gone["object"]["metadata"]["name"]),
        (&json!("DELETED"), &json!("a"))
    );
    // The event has the last selected state, with the resource version of the change.
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
            .expect("patched");
    };
    phase("Running");
    phase("Succeeded");
    assert_eq!(
        [event(&mut fields), event(&mut fields)],
        ["ADDED c", "DELETED c"]
    );
}

#[test]
fn an_expired_resource_version_is_reported_as_an_event() {
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
    // A running watch misses nothing.
    server.create(&pod("b"));
    assert_eq!(
        [event(&mut running), event(&mut running)],
        ["ADDED a", "ADDED b"]
    );
}

#[test]
fn only_watches_that_allow_bookmarks_get_them() {
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
        .expect("resource version");
    expect_silence(&mut without);
    // A watch can start at the bookmark, which is newer than the compaction.
    server.create(&pod("b"));
    assert_eq!(
        event(&mut watch(&client, &format!("resourceVersion={version}"))),
        "ADDED b"
    );
}

#[test]
fn a_watch_can_start_with_a_streaming_list() {
    let (server, client) = server();
    server.create(&pod_on("a", "n1"));
    server.create(&pod_on("b", "n2"));
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut stream = watch(
        &client,
        &format!("{query}&fieldSelector=spec.nodeName%3Dn1"),
    );
    assert_eq!(event(&mut stream), "ADDED a");
    let bookmark = stream.document();
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
    assert_eq!(event(&mut stream), "ADDED c");
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
fn a_watch_ends_after_its_timeout() {
    let (_server, client) = server();
    let start = Instant::now();
    let mut stream = watch(
        &client,
        "timeoutSeconds=1&resourceVersion=1&allowWatchBookmarks=true",
    );
    loop {
        match stream.next(TIMEOUT) {
            StreamItem::Document(_) => {}
            other => break assert_eq!(other, StreamItem::End),
        }
    }
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn partial_metadata_can_be_watched_and_listed() {
    let (server, client) = server();
    server.create(&pod("a"));
    let form = |kind: &str| format!("application/json;as={kind};g=meta.k8s.io;v=v1");
    let accept = form("PartialObjectMetadata");
    let mut stream = client.stream(
        "/api/v1/pods?watch=true&allowWatchBookmarks=true",
        &[("accept", &accept)],
    );
    let stream = stream.as_mut().expect("response");
    let added = stream.document();
    server.bookmark();
    let bookmark = stream.document();
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
    let metadata = client
        .send("GET", &format!("{PODS}/a"), &[("accept", &accept)], None)
        .expect("response")
        .json();
    for object in [
        &added["object"],
        &bookmark["object"],
        &list["items"][0],
        &metadata,
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
    // A list needs the form for lists.
    assert_eq!(
        client
            .send("GET", PODS, &[("accept", &accept)], None)
            .expect("response")
            .code,
        406
    );
}

#[test]
fn a_watch_of_a_custom_resource_ends_when_its_crd_is_deleted() {
    let (server, client) = server();
    let path = format!("{DEFINITIONS}?watch=true");
    assert_eq!(client.get(&path).expect("response").code, 404);
    install_crd(&server);
    let mut stream = client.stream(&path, &[]).expect("response");
    server.create(&definition("a"));
    assert_eq!(event(&mut stream), "ADDED a");
    server.delete(
        "customresourcedefinitions.apiextensions.k8s.io",
        "",
        "network-attachment-definitions.k8s.cni.cncf.io",
    );
    assert_eq!(event(&mut stream), "DELETED a");
    assert_eq!(stream.next(TIMEOUT), StreamItem::End);
    assert_eq!(client.get(&path).expect("response").code, 404);
}
