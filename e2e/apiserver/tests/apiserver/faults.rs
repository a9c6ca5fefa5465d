//! Fault injection and network failures.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use plexus_apiserver::{Client, Effect, Fault, StreamItem};
use serde_json::json;

use crate::support::{PODS, TIMEOUT, client, event, expect_silence, pod, server};

#[test]
fn an_error_fault_applies_as_often_as_requested() {
    let (server, client) = server();
    server.fault(Fault::new("list", "pods", Effect::TooManyRequests(7)).times(2));
    for _ in 0..2 {
        let response = client.get(PODS).expect("response");
        assert_eq!(
            (response.code, response.headers["retry-after"].as_bytes()),
            (429, &b"7"[..])
        );
    }
    assert_eq!(client.get(PODS).expect("response").code, 200);
    let fault = server.fault(Fault::new("*", "*", Effect::Error(503)));
    let response = client.get("/api/v1/nodes").expect("response");
    assert_eq!(
        (response.code, &response.json()["reason"]),
        (503, &json!("ServiceUnavailable"))
    );
    assert_eq!(client.get("/version").expect("response").code, 503);
    server.clear_fault(fault);
    assert_eq!(client.get("/api/v1/nodes").expect("response").code, 200);
}

#[test]
fn a_fault_applies_to_matching_requests_only() {
    let (server, admin) = server();
    let node = client(&server, "node");
    server.create(&pod("a"));
    server.fault(Fault::new("patch", "pods/status", Effect::Error(500)).of_user("node"));
    let patch = json!({"metadata": {"annotations": {"a": "b"}}});
    let code =
        |client: &Client, path: &str| client.merge_patch(path, &patch).expect("response").code;
    assert_eq!(code(&node, &format!("{PODS}/a/status")), 500);
    assert_eq!(code(&node, &format!("{PODS}/a")), 200);
    assert_eq!(code(&admin, &format!("{PODS}/a/status")), 200);
    server.clear_faults();
    assert_eq!(code(&node, &format!("{PODS}/a/status")), 200);
    server.create(&pod("b"));
    server.fault(Fault::new("patch", "pods", Effect::Error(403)).of_name("b"));
    assert_eq!(code(&node, &format!("{PODS}/a")), 200);
    assert_eq!(code(&node, &format!("{PODS}/b")), 403);
}

#[test]
fn responses_can_be_late_slow_or_lost() {
    let (server, client) = server();
    let delay = Duration::from_millis(120);
    for effect in [Effect::Delay(delay), Effect::SlowBody(delay)] {
        server.fault(Fault::new("list", "pods", effect.clone()).times(1));
        let start = Instant::now();
        assert_eq!(
            client.get(PODS).expect("response").json()["kind"],
            "PodList"
        );
        assert!(start.elapsed() >= delay, "{effect:?}");
    }
    server.fault(Fault::new("create", "pods", Effect::Disconnect).times(1));
    assert!(client.post(PODS, &pod("a")).is_err());
    assert_eq!(server.get("pods", "default", "a"), None, "not executed");
    server.fault(Fault::new("create", "pods", Effect::LoseResponse).times(1));
    assert!(client.post(PODS, &pod("a")).is_err());
    assert!(server.get("pods", "default", "a").is_some(), "executed");
}

#[test]
fn a_stalled_watch_continues_when_the_fault_is_cleared() {
    let (server, client) = server();
    let mut running = client
        .stream(&format!("{PODS}?watch=true"), &[])
        .expect("response");
    let fault = server.fault(Fault::new("watch", "pods", Effect::Stall));
    let mut started = client
        .stream(&format!("{PODS}?watch=true&allowWatchBookmarks=true"), &[])
        .expect("response");
    server.create(&pod("a"));
    server.bookmark();
    expect_silence(&mut running);
    expect_silence(&mut started);
    server.clear_fault(fault);
    assert_eq!(
        [event(&mut running), event(&mut started)],
        ["ADDED a", "ADDED a"]
    );
}

#[test]
fn a_watch_connection_can_break() {
    let (server, client) = server();
    server.create(&pod("a"));
    server.create(&pod("b"));
    server.fault(Fault::new("watch", "pods", Effect::CutAfter(1)).times(1));
    let mut cut = client
        .stream(&format!("{PODS}?watch=true"), &[])
        .expect("response");
    assert_eq!(event(&mut cut), "ADDED a");
    assert_eq!(cut.next(TIMEOUT), StreamItem::Broken);
    assert!(cut.has_partial_line());
    let mut dropped = client
        .stream(&format!("{PODS}?watch=true"), &[])
        .expect("response");
    let mut other = client
        .stream("/api/v1/nodes?watch=true", &[])
        .expect("response");
    assert_eq!(
        [event(&mut dropped), event(&mut dropped)],
        ["ADDED a", "ADDED b"]
    );
    server.drop_watches("pods");
    assert_eq!(dropped.next(TIMEOUT), StreamItem::Broken);
    expect_silence(&mut other);
}

#[test]
fn a_stopped_server_refuses_connections_and_resumes_on_its_port() {
    let (server, client) = server();
    server.create(&pod("a"));
    let mut stream = client
        .stream(&format!("{PODS}?watch=true"), &[])
        .expect("response");
    assert_eq!(event(&mut stream), "ADDED a");
    for _ in 0..2 {
        server.stop();
        assert_eq!(stream.next(TIMEOUT), StreamItem::Broken);
        let refused = TcpStream::connect(server.address()).map_err(|error| error.kind());
        assert_eq!(refused.err(), Some(io::ErrorKind::ConnectionRefused));
        server.resume();
        stream = client
            .stream(&format!("{PODS}?watch=true"), &[])
            .expect("response");
        assert_eq!(event(&mut stream), "ADDED a");
    }
}

#[test]
fn nothing_gets_through_a_partition() {
    let (server, client) = server();
    let mut stream = client
        .stream(&format!("{PODS}?watch=true"), &[])
        .expect("response");
    server.wait(TIMEOUT, |entries| {
        entries.iter().any(|entry| entry.code.is_some())
    });
    server.partition();
    server.create(&pod("a"));
    expect_silence(&mut stream);
    TcpStream::connect(server.address()).expect("connection");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.get(PODS));
        expect_silence(&mut stream);
        assert!(!waiting.is_finished());
        assert_eq!(server.count("list", "pods"), 0);
        server.resume();
        assert_eq!(
            waiting.join().expect("no panic").expect("response").code,
            200
        );
    });
    assert_eq!(event(&mut stream), "ADDED a");
}
