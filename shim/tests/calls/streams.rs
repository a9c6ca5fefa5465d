//! Stdout and stderr.

use std::io::Write as _;
use std::os::unix::net::UnixListener;

use plexus_api::rows;
use serde_json::json;

use crate::support::{Finished, Node, add_response, receive};

/// Only debug builds have the failpoint.
#[cfg(debug_assertions)]
#[test]
fn a_panic_prints_one_error() {
    rows!("P-037", "P-046");
    for verb in ["ADD", "DEL"] {
        let node = Node::new();
        let daemon = node.unused_daemon();
        let config = node.config(json!({"cniVersion": "1.0.0"}));
        let error = node
            .shim(verb)
            .stdin(config)
            .env("PLEXUS_FAILPOINT", "1")
            .run()
            .error();
        assert_eq!((error.code, error.version.as_str()), (100, "1.0.0"));
        assert!(
            error.msg.contains("failpoint") && !error.msg.contains("not found"),
            "{error:?}"
        );
        daemon.assert_unused();
    }
    let node = Node::new();
    let _daemon = node.daemon([add_response()]);
    node.shim("ADD").run().result();
}

#[test]
fn a_closed_stdout_fails_the_call_without_a_panic() {
    rows!("P-037", "P-046");
    let node = Node::new();
    let listener = UnixListener::bind(node.socket()).expect("bind");
    let mut shim = node.shim("ADD").start();
    drop(shim.stdout.take());
    let (mut stream, _) = listener.accept().expect("accept");
    receive(&stream);
    stream.write_all(&add_response()).expect("write");
    let finished = Finished::from(shim.wait_with_output().expect("output"));
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("stdout") && !finished.stderr.contains("panicked"),
        "{finished:?}"
    );
}

#[test]
fn a_closed_stderr_is_ignored() {
    rows!("P-044");
    let node = Node::new();
    let mut shim = node
        .shim("DEL")
        .stdin(node.config(json!({"delWhenDown": "spool"})))
        .start();
    drop(shim.stderr.take());
    let finished = Finished::from(shim.wait_with_output().expect("output"));
    finished.assert_silent();
}
