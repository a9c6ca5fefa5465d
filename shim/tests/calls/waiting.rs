//! Waiting for a daemon that is unavailable.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::process::Child;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use plexus_api::rows;
use serde_json::json;

use crate::support::{Finished, Node, add_response, no_response, receive, response};

/// Blocks until the shim logs that it is waiting for the daemon.
fn await_waiting(shim: &mut Child) {
    let mut line = String::new();
    BufReader::new(shim.stderr.as_mut().expect("stderr"))
        .read_line(&mut line)
        .expect("read");
    assert!(line.contains("waits"), "{line}");
}

#[test]
fn every_verb_waits_for_a_daemon_that_starts() {
    rows!("P-044");
    for (verb, key, wait) in [
        ("ADD", "daemonWaitAdd", "20s"),
        ("CHECK", "daemonWaitAdd", "20s"),
        ("GC", "daemonWaitAdd", "24h"),
        ("DEL", "daemonWaitDel", "20s"),
        ("STATUS", "daemonWaitStatus", "20s"),
    ] {
        let node = Node::new();
        let mut shim = node
            .shim(verb)
            .stdin(node.config(json!({key: wait})))
            .start();
        await_waiting(&mut shim);
        let daemon = node.daemon([add_response()]);
        let finished = Finished::from(shim.wait_with_output().expect("output"));
        assert_eq!(finished.code, Some(0), "{verb}: {finished:?}");
        assert_eq!(daemon.calls().len(), 1, "{verb}");
    }
}

#[test]
fn a_stale_socket_counts_as_no_daemon() {
    let node = Node::new();
    drop(UnixListener::bind(node.socket()).expect("bind"));
    let mut shim = node
        .shim("ADD")
        .stdin(node.config(json!({"daemonWaitAdd": "20s"})))
        .start();
    await_waiting(&mut shim);
    std::fs::remove_file(node.socket()).expect("remove");
    let _daemon = node.daemon([add_response()]);
    Finished::from(shim.wait_with_output().expect("output")).result();
}

#[test]
fn the_waits_have_defaults() {
    for (verb, wait) in [("ADD", "30s"), ("DEL", "2s"), ("STATUS", "10s")] {
        let node = Node::new();
        let unset = json!({"daemonWaitAdd": null, "daemonWaitDel": "", "daemonWaitStatus": null});
        let mut shim = node.shim(verb).stdin(node.config(unset)).start();
        let mut line = String::new();
        BufReader::new(shim.stderr.as_mut().expect("stderr"))
            .read_line(&mut line)
            .expect("read");
        assert!(line.contains(&format!("waits up to {wait} ")), "{line}");
        let _daemon = node.daemon([add_response()]);
        assert!(shim.wait().expect("wait").success(), "{verb}");
    }
}

#[test]
fn after_the_wait_the_error_names_socket_and_daemon() {
    for (verb, code) in [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50)] {
        for wait in ["0", "30ms"] {
            let node = Node::new();
            let waits = json!({"daemonWaitAdd": wait, "daemonWaitStatus": wait});
            let error = node.shim(verb).stdin(node.config(waits)).run().error();
            assert_eq!(error.code, code, "{verb}");
            let socket = node.socket();
            assert!(
                error.msg.contains("plexusd")
                    && error.msg.contains(socket.to_str().expect("UTF-8")),
                "{error:?}"
            );
        }
    }
}

#[test]
fn an_error_that_waiting_cannot_fix_is_reported_at_once() {
    let node = Node::new();
    let not_a_dir = node.path("file");
    File::create(&not_a_dir).expect("create");
    let too_long = node.path(&"x".repeat(120));
    for dir in [not_a_dir, too_long] {
        let config = node.config(json!({"daemonSocketDir": dir, "daemonWaitAdd": "20s"}));
        let finished = node.shim("ADD").stdin(config).run();
        assert_eq!(finished.error().code, 11);
        assert_eq!(finished.stderr, "");
    }
}

#[test]
fn an_interrupted_call_that_may_have_started_is_not_retried() {
    for verb in ["ADD", "CHECK", "GC"] {
        let node = Node::new();
        let daemon = node.daemon([no_response(), add_response()]);
        let error = node
            .shim(verb)
            .stdin(node.config(json!({"daemonWaitAdd": "20s"})))
            .run()
            .error();
        assert_eq!(error.code, 11, "{verb}");
        assert!(error.msg.contains("plexusd"), "{error:?}");
        assert_eq!(daemon.calls().len(), 1, "{verb}");
    }
}

#[test]
fn a_call_that_was_not_started_is_retried() {
    for verb in ["ADD", "CHECK", "GC", "DEL", "STATUS"] {
        let node = Node::new();
        let waits =
            json!({"daemonWaitAdd": "20s", "daemonWaitDel": "20s", "daemonWaitStatus": "20s"});
        let daemon = node.daemon([
            response(
                503,
                "{\"code\": 11, \"msg\": \"another daemon has taken over\"}",
            ),
            add_response(),
        ]);
        let finished = node.shim(verb).stdin(node.config(waits)).run();
        assert_eq!(finished.code, Some(0), "{verb}: {finished:?}");
        assert_eq!(daemon.calls().len(), 2, "{verb}");
    }
}

#[test]
fn the_wait_restarts_when_the_daemon_is_replaced() {
    let node = Node::new();
    let listener = UnixListener::bind(node.socket()).expect("bind");
    let shim = node
        .shim("ADD")
        .stdin(node.config(json!({"daemonWaitAdd": "300ms"})))
        .start();
    let (stream, _) = listener.accept().expect("accept");
    receive(&stream);
    // Longer than the wait: this daemon itself was waiting to replace another one.
    std::thread::sleep(std::time::Duration::from_millis(400));
    (&stream).write_all(&response(503, "")).expect("write");
    let (stream, _) = listener.accept().expect("accept");
    receive(&stream);
    (&stream).write_all(&add_response()).expect("write");
    Finished::from(shim.wait_with_output().expect("output")).result();
}

#[test]
fn a_call_that_a_dying_daemon_did_not_read_is_retried() {
    for verb in ["ADD", "CHECK", "GC"] {
        let node = Node::new();
        let dying = UnixListener::bind(node.socket()).expect("bind");
        let mut shim = node
            .shim(verb)
            .stdin(node.config(json!({"daemonWaitAdd": "20s"})))
            .start();
        // The connection was not accepted when the daemon died.
        let mut fds = [PollFd::new(dying.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).expect("poll");
        drop(dying);
        await_waiting(&mut shim);
        std::fs::remove_file(node.socket()).expect("remove");
        let daemon = node.daemon([add_response()]);
        let finished = Finished::from(shim.wait_with_output().expect("output"));
        assert_eq!(finished.code, Some(0), "{verb}: {finished:?}");
        assert_eq!(daemon.calls().len(), 1, "{verb}");
    }
}

#[test]
fn a_call_that_no_daemon_starts_fails_after_the_wait() {
    for (verb, code) in [("ADD", 11), ("DEL", 11), ("STATUS", 50)] {
        let node = Node::new();
        let _daemon = node.daemon([response(503, "")]);
        let error = node.shim(verb).run().error();
        assert_eq!(error.code, code, "{verb}");
        assert!(error.msg.contains("did not start the call"), "{error:?}");
    }
}

#[test]
fn del_and_status_are_retried() {
    for verb in ["DEL", "STATUS"] {
        let node = Node::new();
        let daemon = node.daemon([no_response(), no_response(), response(200, "")]);
        let waits = json!({"daemonWaitDel": "20s", "daemonWaitStatus": "20s"});
        node.shim(verb)
            .stdin(node.config(waits))
            .run()
            .assert_silent();
        assert_eq!(daemon.calls().len(), 3, "{verb}");
    }
}

#[test]
fn status_is_unavailable_if_the_daemon_does_not_respond() {
    let node = Node::new();
    let _daemon = node.daemon([no_response()]);
    assert_eq!(node.shim("STATUS").run().error().code, 50);
}
