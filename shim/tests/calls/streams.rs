//! Stdout and stderr, also when things go wrong.

use plexus_api::rows;
use serde_json::json;

use crate::support::{Node, added};

/// The failpoint is in debug builds only.
#[cfg(debug_assertions)]
#[test]
fn a_panic_is_one_error() {
    rows!("P-037", "P-046");
    for verb in ["ADD", "DEL"] {
        let node = Node::new();
        let daemon = node.bystander();
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
        daemon.assert_untouched();
    }
    let node = Node::new();
    let _daemon = node.daemon([added()]);
    node.shim("ADD").run().result();
}

#[test]
fn a_stdout_that_nobody_reads_fails_the_call_without_a_panic() {
    rows!("P-037", "P-046");
    let node = Node::new();
    let listener = std::os::unix::net::UnixListener::bind(node.socket()).expect("bind");
    let mut shim = node.shim("ADD").start();
    drop(shim.stdout.take());
    let (mut stream, _) = listener.accept().expect("accept");
    crate::support::receive(&stream);
    std::io::Write::write_all(&mut stream, &added()).expect("answer");
    let finished = crate::support::Finished::from(shim.wait_with_output().expect("output"));
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("stdout") && !finished.stderr.contains("panicked"),
        "{finished:?}"
    );
}

#[test]
fn a_stderr_that_nobody_reads_changes_nothing() {
    rows!("P-044");
    let node = Node::new();
    let mut shim = node
        .shim("DEL")
        .stdin(node.config(json!({"delWhenDown": "spool"})))
        .start();
    drop(shim.stderr.take());
    let finished = crate::support::Finished::from(shim.wait_with_output().expect("output"));
    finished.assert_silent();
}
