//! The requests that the shim sends.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use plexus_api::rows;
use serde_json::{Value, json};

use crate::support::{Finished, Node, add_response, receive, response};

#[test]
fn the_call_is_a_post_with_environment_and_configuration() {
    let node = Node::new();
    let daemon = node.daemon([add_response()]);
    let config = format!("  {} \n", node.config(json!({"number": 1e300})));
    node.shim("ADD").stdin(config.clone()).run().result();
    let call = daemon.only_call();
    assert_eq!(call.head[0], "POST /cni HTTP/1.1");
    for header in ["Content-Type: application/json", "Connection: close"] {
        assert!(call.head.iter().any(|line| line == header), "{call:?}");
    }
    assert!(
        call.head.iter().any(|line| line.starts_with("Host: ")),
        "{call:?}"
    );
    let body: Value = serde_json::from_slice(&call.body).expect("JSON");
    assert_eq!(
        body.as_object().expect("object").keys().collect::<Vec<_>>(),
        ["config", "env"]
    );
    let request = call.request();
    assert_eq!(request.config, config.as_bytes());
    assert_eq!(request.env["CNI_CONTAINERID"], "box1");
    assert_eq!(request.env["CNI_PATH"], "/opt/cni/bin");
}

#[test]
fn the_whole_environment_is_forwarded() {
    rows!("P-021", "R-105");
    let variables = [
        ("BAGGAGE", "z"),
        ("CNI_FUTURE", "yes"),
        ("HTTPS_PROXY", "http://proxy"),
        ("NOTIFY_SOCKET", "n"),
        ("PATH", "/opt/runtime/bin"),
        ("TRACEPARENT", "x"),
        ("TRACESTATE", "y"),
    ];
    let node = Node::new();
    let daemon = node.daemon([add_response()]);
    let shim = node.shim("ADD").env("LATIN1", OsStr::from_bytes(b"\xe9"));
    let finished = variables
        .iter()
        .fold(shim, |shim, (key, value)| shim.env(key, value))
        .run();
    finished.result();
    let env = daemon.only_call().request().env;
    for (key, value) in variables {
        assert_eq!(env.get(key).map(String::as_str), Some(value), "{key}");
    }
    // JSON cannot express the value.
    assert!(!env.contains_key("LATIN1"));
    assert!(finished.stderr.contains("LATIN1"), "{finished:?}");
}

#[test]
fn variables_beyond_the_limit_are_dropped() {
    let node = Node::new();
    let daemon = node.daemon([add_response()]);
    let large = "secret".repeat(15_000);
    let finished = node
        .shim("ADD")
        .env("A", &large)
        .env("B", &large)
        .env("PATH", "/bin")
        .env("Z", "small")
        .run();
    finished.result();
    let env = daemon.only_call().request().env;
    let has = ["A", "B", "PATH", "Z"].map(|key| env.contains_key(key));
    assert_eq!(has, [true, false, true, true]);
    assert!(finished.stderr.contains(": \"B\"\n"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("secret"));
}

#[test]
fn the_connection_stays_open_in_both_directions_until_the_response() {
    let node = Node::new();
    let listener = UnixListener::bind(node.socket()).expect("bind");
    let shim = node.shim("ADD").start();
    let (mut stream, _) = listener.accept().expect("accept");
    receive(&stream);
    // The shim waits for the response by now, or will within this time. A half-close would end the
    // read.
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("timeout");
    let error = stream.read(&mut [0]).expect_err("the shim closed its side");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.write_all(&add_response()).expect("write");
    // A client that keeps the connection alive would hang here.
    Finished::from(shim.wait_with_output().expect("output")).result();
}

#[test]
fn a_response_before_the_request_is_read_counts() {
    rows!("P-043");
    let node = Node::new();
    let listener = UnixListener::bind(node.socket()).expect("bind");
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accept");
        // With a content length: closing a socket with unread data resets the connection.
        stream
            .write_all(&response(413, r#"{"code":6,"msg":"too large"}"#))
            .expect("write");
    });
    let config = node.config(json!({"padding": "x".repeat(1 << 20)}));
    let error = node.shim("ADD").stdin(config).run().error();
    assert_eq!((error.code, error.msg.as_str()), (6, "too large"));
    daemon.join().expect("daemon");
}
