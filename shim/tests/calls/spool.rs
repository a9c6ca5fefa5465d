//! A DEL while the daemon is unavailable.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use plexus_api::{rows, wire};
use serde_json::json;

use crate::support::{ErrorObject, Node, no_response, response};

fn spooled(node: &Node) -> Vec<PathBuf> {
    let dir = node.state().join("spool");
    fs::read_dir(dir)
        .map(|dir| dir.map(|entry| entry.expect("entry").path()).collect())
        .unwrap_or_default()
}

fn assert_temporary_error(error: &ErrorObject) {
    assert_eq!(error.code, 11, "{error:?}");
    let text = format!("{} {}", error.msg, error.details).to_lowercase();
    assert!(
        !text.contains("not found") && !text.contains("no such file or directory"),
        "{error:?}"
    );
}

#[test]
fn a_spooled_del_is_an_error_so_that_the_runtime_retries() {
    rows!("P-094");
    let node = Node::new();
    let config = node.config(json!({}));
    let error = node
        .shim("DEL")
        .stdin(config.clone())
        .env("TRACEPARENT", "x")
        .env("TOKEN", "secret")
        .run()
        .error();
    assert_temporary_error(&error);
    assert!(
        error.msg.contains("plexusd") && error.msg.contains(node.socket().to_str().expect("UTF-8")),
        "{error:?}"
    );
    let path = node.state().join("spool/box1:eth0.json");
    assert!(
        error.msg.contains(path.to_str().expect("UTF-8")),
        "{error:?}"
    );
    assert_eq!(spooled(&node), std::slice::from_ref(&path));
    let mode = |path: PathBuf| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(
        (mode(path.clone()), mode(node.state().join("spool"))),
        (0o600, 0o700)
    );
    let request: wire::Request =
        serde_json::from_slice(&fs::read(path).expect("read")).expect("request");
    assert_eq!(request.config, config.as_bytes());
    assert_eq!(
        (
            request.env["CNI_COMMAND"].as_str(),
            request.env["TRACEPARENT"].as_str()
        ),
        ("DEL", "x")
    );
    assert!(!request.env.contains_key("TOKEN"), "a secret on the disk");
}

#[test]
fn a_spooled_request_is_the_original_with_a_time() {
    rows!("P-094");
    let node = Node::new();
    let uptime = || {
        let text = fs::read_to_string("/proc/uptime").expect("read");
        text.split('.')
            .next()
            .and_then(|seconds| seconds.parse::<u64>().ok())
            .expect("seconds")
    };
    let before = uptime();
    node.shim("DEL").run().error();
    let after = uptime();
    let mut spooled: wire::Request =
        serde_json::from_slice(&fs::read(&spooled(&node)[0]).expect("read")).expect("request");
    let at = spooled.at.take().expect("the time");
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("read");
    assert_eq!(at.boot_id, boot_id.trim());
    let seconds = at.boottime_ns / 1_000_000_000;
    assert!(
        (before..=after).contains(&seconds),
        "{before} {at:?} {after}"
    );
    let daemon = node.daemon([response(200, "")]);
    node.shim("DEL").run().assert_silent();
    assert_eq!(
        daemon.only_call().body,
        serde_json::to_vec(&spooled).expect("JSON")
    );
}

#[test]
fn a_spooled_del_is_a_success_if_configured() {
    rows!("P-094");
    let node = Node::new();
    let finished = node
        .shim("DEL")
        .stdin(node.config(json!({"delWhenDown": "spool"})))
        .run();
    finished.assert_silent();
    assert!(finished.stderr.contains("spool"), "{finished:?}");
    assert_eq!(spooled(&node).len(), 1);
}

#[test]
fn a_later_del_replaces_an_earlier_one() {
    let node = Node::new();
    node.shim("DEL").run().error();
    node.shim("DEL").env("CNI_NETNS", "").run().error();
    node.shim("DEL").env("CNI_IFNAME", "eth1").run().error();
    let mut paths = spooled(&node);
    paths.sort();
    assert_eq!(paths.len(), 2);
    let request: wire::Request =
        serde_json::from_slice(&fs::read(&paths[0]).expect("read")).expect("request");
    assert_eq!(request.env["CNI_NETNS"], "");
}

#[test]
fn the_longest_names_can_be_spooled() {
    rows!("P-007");
    let node = Node::new();
    let (id, ifname) = ("x".repeat(200), "y".repeat(15));
    assert_temporary_error(
        &node
            .shim("DEL")
            .env("CNI_CONTAINERID", &id)
            .env("CNI_IFNAME", &ifname)
            .run()
            .error(),
    );
    assert_eq!(spooled(&node).len(), 1);
    let longer = node
        .shim("DEL")
        .env("CNI_CONTAINERID", "x".repeat(201))
        .run()
        .error();
    assert_eq!(longer.code, 4);
}

#[test]
fn a_del_without_a_response_is_spooled() {
    for wait in ["0", "30ms"] {
        let node = Node::new();
        let daemon = node.daemon([no_response()]);
        assert_temporary_error(
            &node
                .shim("DEL")
                .stdin(node.config(json!({"daemonWaitDel": wait})))
                .run()
                .error(),
        );
        assert_eq!(daemon.calls().len(), 1);
        assert_eq!(spooled(&node).len(), 1);
    }
}

#[test]
fn a_del_that_cannot_be_spooled_is_never_a_success() {
    rows!("P-094");
    for mode in ["retry", "spool"] {
        let node = Node::new();
        fs::write(node.state(), "not a directory").expect("write");
        let error = node
            .shim("DEL")
            .stdin(node.config(json!({"delWhenDown": mode})))
            .run()
            .error();
        assert_temporary_error(&error);
        assert!(error.msg.contains("cannot be stored"), "{error:?}");
    }
}

#[test]
fn a_del_with_a_response_is_not_spooled() {
    let node = Node::new();
    let _daemon = node.daemon([response(400, "no"), response(200, "")]);
    node.shim("DEL").run().error();
    node.shim("DEL").run().assert_silent();
    assert!(spooled(&node).is_empty());
}

#[test]
fn no_other_verb_is_spooled() {
    for verb in ["ADD", "CHECK", "GC", "STATUS"] {
        let node = Node::new();
        node.shim(verb).run().error();
        assert!(!node.state().exists(), "{verb}");
    }
}

#[test]
fn after_an_uninstall_del_succeeds_at_once() {
    for ledger in [false, true] {
        let node = Node::new();
        fs::create_dir(node.state()).expect("create");
        fs::write(node.state().join("uninstalled"), "").expect("write");
        if ledger {
            fs::create_dir(node.state().join("ledger")).expect("create");
        }
        let finished = node
            .shim("DEL")
            .stdin(node.config(json!({"daemonWaitDel": "20s"})))
            .run();
        finished.assert_silent();
        assert!(spooled(&node).is_empty());
    }
}

#[test]
fn an_uninstall_that_left_records_does_not_count() {
    let node = Node::new();
    fs::create_dir_all(node.state().join("ledger")).expect("create");
    fs::write(node.state().join("ledger/box1:eth0"), "").expect("write");
    fs::write(node.state().join("uninstalled"), "").expect("write");
    assert_temporary_error(&node.shim("DEL").run().error());
    assert_eq!(spooled(&node).len(), 1);
}

#[test]
fn after_an_uninstall_a_running_daemon_is_still_called() {
    let node = Node::new();
    fs::create_dir(node.state()).expect("create");
    fs::write(node.state().join("uninstalled"), "").expect("write");
    let _daemon = node.daemon([response(400, "no"), no_response()]);
    assert_eq!(node.shim("DEL").run().error().msg, "no");
    assert_temporary_error(&node.shim("DEL").run().error());
}
