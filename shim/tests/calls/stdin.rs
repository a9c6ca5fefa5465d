//! Validation of the configuration on stdin.

use std::fs::File;
use std::process::Stdio;

use plexus_api::{rows, wire};
use serde_json::json;

use crate::support::{Node, add_response, response};

#[test]
fn stdin_must_be_an_object() {
    rows!("P-030", "P-039", "P-047");
    for stdin in [
        &b"{"[..],
        b"",
        b"[]",
        b"null",
        b"\"my-token\"",
        b"{} {}",
        b"{\"name\":\xff}",
    ] {
        for verb in ["ADD", "DEL"] {
            let node = Node::new();
            let daemon = node.unused_daemon();
            let error = node.shim(verb).stdin(stdin).run().error();
            assert_eq!(
                (error.code, error.version.as_str()),
                (6, "1.1.0"),
                "{verb} {stdin:?}"
            );
            assert!(!error.msg.contains("my-token"), "{error:?}");
            daemon.assert_unused();
        }
    }
}

#[test]
fn an_unreadable_stdin_is_an_io_error() {
    rows!("P-031");
    let directory = File::open("/").expect("open");
    assert_eq!(
        Node::new()
            .shim("ADD")
            .run_with(Stdio::from(directory))
            .error()
            .code,
        5
    );
}

#[test]
fn a_network_needs_a_valid_name() {
    rows!("P-032");
    for verb in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        for name in [json!(""), json!("-x"), json!("a/b"), json!(null), json!(7)] {
            let node = Node::new();
            let error = node
                .shim(verb)
                .stdin(node.config(json!({"name": name})))
                .run()
                .error();
            assert_eq!(error.code, 7, "{verb} {name}");
        }
    }
    let node = Node::new();
    let _daemon = node.daemon([add_response()]);
    node.shim("ADD")
        .stdin(node.config(json!({"name": "a.b_c-1"})))
        .run()
        .result();
}

#[test]
fn keys_injected_by_runtimes_are_forwarded() {
    rows!("P-033");
    let node = Node::new();
    let daemon = node.daemon([add_response()]);
    let config = node.config(json!({
        "runtimeConfig": {"portMappings": []}, "prevResult": {"cniVersion": "1.1.0"}, "args": {"cni": 1e300},
        "capabilities": {"portMappings": true}, "cni.dev/valid-attachments": [], "unknown": [[["deep"]]],
    }));
    node.shim("ADD").stdin(config.clone()).run().result();
    assert_eq!(daemon.only_call().request().config, config.as_bytes());
}

#[test]
fn an_error_names_an_invalid_setting_and_its_value() {
    rows!("P-034");
    for (key, value) in [
        ("daemonWaitAdd", json!("soon")),
        ("daemonWaitDel", json!("1 hour")),
        ("daemonWaitDel", json!("24h1ms")),
        ("daemonWaitAdd", json!("99999999h")),
        ("daemonWaitStatus", json!(10)),
        ("delWhenDown", json!("forget")),
        ("daemonSocketDir", json!(["/run"])),
        ("stateDir", json!(true)),
    ] {
        for verb in ["ADD", "CHECK", "GC", "STATUS"] {
            let node = Node::new();
            let error = node
                .shim(verb)
                .stdin(node.config(json!({key: value})))
                .run()
                .error();
            assert_eq!(error.code, 2, "{verb} {key}");
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            assert!(
                error.msg.contains(key) && error.msg.contains(&value),
                "{error:?}"
            );
        }
    }
}

#[test]
fn an_invalid_setting_does_not_stop_del() {
    let node = Node::new();
    let daemon = node.daemon([response(200, "")]);
    let config = node.config(json!({"daemonWaitDel": "soon", "delWhenDown": 1}));
    let finished = node.shim("DEL").stdin(config).run();
    finished.assert_silent();
    assert!(
        finished.stderr.contains("daemonWaitDel") && finished.stderr.contains("delWhenDown"),
        "{finished:?}"
    );
    assert_eq!(daemon.calls().len(), 1);
}

#[test]
fn keys_match_in_any_case_and_the_last_one_wins() {
    let node = Node::new();
    let daemon = node.daemon([add_response(), add_response(), add_response()]);
    let dir = json!(node.socket().parent().expect("parent"));
    for keys in [
        format!(r#""CNIVersion": "1.1.0", "Name": "plexus", "DAEMONSOCKETDIR": {dir}"#),
        format!(
            r#""cniVersion": "1.1.0", "name": "plexus", "DaemonSocketDir": "/elsewhere", "daemonsocketdir": 7,
               "daemonSocketDir": {dir}"#
        ),
        format!(
            r#""cniVersion": "9.9.9", "name": "-", "daemonSocketDir": "/elsewhere", "daemonsocketdir": {dir},
               "NAME": "plexus", "CNIVersion": "1.1.0""#
        ),
    ] {
        let config = format!(r#"{{{keys}, "daemonwaitadd": "0"}}"#);
        node.shim("ADD").stdin(config).run().result();
    }
    assert_eq!(daemon.calls().len(), 3);
}

#[test]
fn annotations_may_have_the_largest_size_that_kubernetes_allows() {
    let node = Node::new();
    let daemon = node.daemon([add_response()]);
    let annotations = "\\u003c".repeat(256 << 10);
    let config = node
        .config(json!({"runtimeConfig": "@"}))
        .replace('@', &annotations);
    node.shim("ADD").stdin(config.clone()).run().result();
    assert_eq!(daemon.only_call().request().config, config.as_bytes());
}

#[test]
fn a_configuration_too_large_for_a_request_is_refused() {
    for size in [
        wire::MAX_REQUEST / 4 * 3,
        wire::MAX_REQUEST + 1,
        wire::MAX_REQUEST * 2,
    ] {
        let node = Node::new();
        let daemon = node.unused_daemon();
        let config = node.config(json!({"padding": "x".repeat(size)}));
        assert_eq!(
            node.shim("ADD").stdin(config).run().error().code,
            6,
            "{size}"
        );
        daemon.assert_unused();
    }
}
