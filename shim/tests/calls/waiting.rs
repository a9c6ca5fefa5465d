//! A daemon that is away for a while, or for good.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::process::Child;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use plexus_api::rows;
use serde_json::json;

use crate::support::{Finished, Node, added, answer, no_answer, receive};

/// Blocks until the shim says that it waits: it has found no daemon by then.
fn see_it_wait(shim: &mut Child) {
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
        ("GC", "daemonWaitAdd", "99999999h"),
        ("DEL", "daemonWaitDel", "20s"),
        ("STATUS", "daemonWaitStatus", "20s"),
    ] {
        let node = Node::new();
        let mut shim = node
            .shim(verb)
            .stdin(node.config(json!({key: wait})))
            .start();
        see_it_wait(&mut shim);
        let daemon = node.daemon([added()]);
        let finished = Finished::from(shim.wait_with_output().expect("output"));
        assert_eq!(finished.code, Some(0), "{verb}: {finished:?}");
        assert_eq!(daemon.calls().len(), 1, "{verb}");
    }
}

#[test]
fn a_socket_that_a_dead_daemon_left_is_no_daemon() {
    let node = Node::new();
    drop(UnixListener::bind(node.socket()).expect("bind"));
    let mut shim = node
        .shim("ADD")
        .stdin(node.config(json!({"daemonWaitAdd": "20s"})))
        .start();
    see_it_wait(&mut shim);
    std::fs::remove_file(node.socket()).expect("remove");
    let _daemon = node.daemon([added()]);
    Finished::from(shim.wait_with_output().expect("output")).result();
}

#[test]
fn the_defaults_wait() {
    for (verb, wait) in [("ADD", "30s"), ("DEL", "2s"), ("STATUS", "10s")] {
        let node = Node::new();
        let unset = json!({"daemonWaitAdd": null, "daemonWaitDel": "", "daemonWaitStatus": null});
        let mut shim = node.shim(verb).stdin(node.config(unset)).start();
        let mut line = String::new();
        BufReader::new(shim.stderr.as_mut().expect("stderr"))
            .read_line(&mut line)
            .expect("read");
        assert!(line.contains(&format!("waits up to {wait} ")), "{line}");
        let _daemon = node.daemon([added()]);
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
fn what_waiting_does_not_mend_is_told_at_once() {
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
fn a_call_that_was_cut_short_is_not_repeated_where_it_may_have_been_begun() {
    for verb in ["ADD", "CHECK", "GC"] {
        let node = Node::new();
        let daemon = node.daemon([no_answer(), added()]);
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
fn a_call_that_was_not_begun_is_repeated() {
    for verb in ["ADD", "CHECK", "GC", "DEL", "STATUS"] {
        let node = Node::new();
        let waits =
            json!({"daemonWaitAdd": "20s", "daemonWaitDel": "20s", "daemonWaitStatus": "20s"});
        let daemon = node.daemon([
            answer(503, "{\"code\": 11, \"msg\": \"another does\"}"),
            added(),
        ]);
        let finished = node.shim(verb).stdin(node.config(waits)).run();
        assert_eq!(finished.code, Some(0), "{verb}: {finished:?}");
        assert_eq!(daemon.calls().len(), 2, "{verb}");
    }
}

#[test]
fn the_wait_begins_anew_with_a_hand_over() {
    let node = Node::new();
    let listener = UnixListener::bind(node.socket()).expect("bind");
    let shim = node
        .shim("ADD")
        .stdin(node.config(json!({"daemonWaitAdd": "300ms"})))
        .start();
    let (stream, _) = listener.accept().expect("accept");
    receive(&stream);
    // Longer than its wait: the daemon has waited itself for the one before it.
    std::thread::sleep(std::time::Duration::from_millis(400));
    (&stream).write_all(&answer(503, "")).expect("write");
    let (stream, _) = listener.accept().expect("accept");
    receive(&stream);
    (&stream).write_all(&added()).expect("write");
    Finished::from(shim.wait_with_output().expect("output")).result();
}

#[test]
fn a_call_that_a_dying_daemon_had_not_read_is_repeated() {
    for verb in ["ADD", "CHECK", "GC"] {
        let node = Node::new();
        let dying = UnixListener::bind(node.socket()).expect("bind");
        let mut shim = node
            .shim(verb)
            .stdin(node.config(json!({"daemonWaitAdd": "20s"})))
            .start();
        // One that has come and was not accepted, as the kernel leaves it when the daemon is killed.
        let mut fds = [PollFd::new(dying.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).expect("poll");
        drop(dying);
        see_it_wait(&mut shim);
        std::fs::remove_file(node.socket()).expect("remove");
        let daemon = node.daemon([added()]);
        let finished = Finished::from(shim.wait_with_output().expect("output"));
        assert_eq!(finished.code, Some(0), "{verb}: {finished:?}");
        assert_eq!(daemon.calls().len(), 1, "{verb}");
    }
}

#[test]
fn a_call_that_nobody_begins_is_an_error_after_the_wait() {
    for (verb, code) in [("ADD", 11), ("DEL", 11), ("STATUS", 50)] {
        let node = Node::new();
        let _daemon = node.daemon([answer(503, "")]);
        let error = node.shim(verb).run().error();
        assert_eq!(error.code, code, "{verb}");
        assert!(error.msg.contains("before it began the call"), "{error:?}");
    }
}

#[test]
fn del_and_status_are_repeated() {
    for verb in ["DEL", "STATUS"] {
        let node = Node::new();
        let daemon = node.daemon([no_answer(), no_answer(), answer(200, "")]);
        let waits = json!({"daemonWaitDel": "20s", "daemonWaitStatus": "20s"});
        node.shim(verb)
            .stdin(node.config(waits))
            .run()
            .assert_silent();
        assert_eq!(daemon.calls().len(), 3, "{verb}");
    }
}

#[test]
fn status_of_a_daemon_that_gives_no_answer_is_not_available() {
    let node = Node::new();
    let _daemon = node.daemon([no_answer()]);
    assert_eq!(node.shim("STATUS").run().error().code, 50);
}
