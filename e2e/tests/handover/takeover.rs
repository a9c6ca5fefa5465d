//! Several daemons on one node: the new one serves, the others stand by.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;

use nix::sys::signal::Signal;
use plexus_e2e::plexus::DEFAULT_NETWORK_FILE;
use plexus_e2e::{CniTarget, Daemon, Gate, Node, Plexus, Pod, node};

use crate::{build, socket_dir, start};

/// The pod `web` in two sandboxes.
fn two_targets(node: &Node) -> [CniTarget; 2] {
    ["first", "second"].map(|name| node.sandbox(name).target(&Pod::new("web")))
}

fn target(node: &Node) -> CniTarget {
    node.sandbox("pod").target(&Pod::new("web"))
}

/// Starts a new daemon during the ADD of the first target. Then issues the ADD of the second, calls
/// `meanwhile` with the new daemon, and lets both calls finish. Returns the new daemon.
fn take_over_during_adds<'n>(
    plexus: &Plexus<'n>,
    gate: &Gate,
    [first, second]: &[CniTarget; 2],
    meanwhile: impl FnOnce(&Daemon),
) -> Daemon<'n> {
    let in_flight = plexus.runtime.start("ADD", first);
    let held = gate.wait();
    let new = plexus.start_successor();
    // The new daemon has the socket, the old one has the ledger until its call is finished.
    let queued = plexus.runtime.start("ADD", second);
    meanwhile(&new);
    held.release();
    in_flight.wait().result();
    gate.wait().release();
    queued.wait().result();
    new
}

#[test]
fn a_new_daemon_takes_over_and_the_old_one_finishes_its_call() {
    let node = node!();
    let gate = node.gate("add");
    let mut plexus = start(&node, Some(gate.step()));
    let targets = two_targets(&node);
    let mut new = take_over_during_adds(&plexus, &gate, &targets, |_| {});
    assert_eq!(plexus.calls_of("ADD").len(), 2);
    // The new daemon detaches what the old one has attached.
    for target in &targets {
        plexus.runtime.del(target).expect_success();
    }
    let log = plexus.daemon.log();
    assert!(log.contains("stands by"), "{log}");
    plexus.daemon.stop();
    new.stop();
}

#[test]
fn the_old_daemon_serves_again_when_the_new_one_dies() {
    let node = node!();
    let mut plexus = start(&node, None);
    let target = target(&node);
    let mut new = plexus.start_successor();
    plexus.runtime.add(&target).result();
    new.kill();
    // No daemon listens for a moment; the shim waits.
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    plexus.daemon.stop();
    let log = plexus.daemon.log();
    assert!(log.contains("serves again"), "{log}");
}

#[test]
fn status_does_not_wait_for_the_calls_of_the_old_daemon() {
    plexus_api::rows!("P-105");
    let node = node!();
    let gate = node.gate("add");
    let mut plexus = start(&node, Some(gate.step()));
    let target = target(&node);
    let in_flight = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    let mut new = plexus.start_successor();
    // The old daemon cannot release the ledger before its plugin has finished.
    plexus.runtime.status().expect_success();
    // The probes of the new daemon fail and name the process that it waits for.
    for path in ["/healthz", "/readyz"] {
        let reply = new.get(path).expect("a reply");
        let names_old = reply.body.contains(&format!("pid {}", plexus.daemon.pid()));
        assert!(reply.status == 500 && names_old, "{path}: {reply:?}");
    }
    held.release();
    in_flight.wait().result();
    new.wait_ready();
    plexus.runtime.del(&target).expect_success();
    plexus.daemon.stop();
    new.stop();
}

#[test]
fn a_client_that_has_connected_but_not_sent_a_request_is_served() {
    let node = node!();
    let mut plexus = start(&node, None);
    let socket = plexus.daemon.socket().to_owned();
    let connect = || {
        node.run(|| UnixStream::connect(&socket))
            .expect("connect to the socket")
    };
    let request = |mut client: UnixStream, path: &str| {
        client
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: plexus\r\n\r\n").as_bytes())
            .expect("send a request");
        let mut response = String::new();
        client
            .read_to_string(&mut response)
            .expect("read a response");
        assert!(response.starts_with("HTTP/1.1 200"), "{path}: {response:?}");
    };
    let (silent, other) = (connect(), connect());
    let mut new = thread::scope(|scope| {
        // Returns when the old daemon accepts no further connections.
        scope.spawn(|| request(other, "/alive"));
        plexus.start_successor()
    });
    request(silent, "/healthz");
    new.wait_ready();
    plexus.daemon.stop();
    new.stop();
}

#[test]
fn a_third_daemon_takes_over_while_the_first_stands_by() {
    let node = node!();
    let mut plexus = start(&node, None);
    let mut second = plexus.start_successor();
    second.wait_ready();
    plexus.daemon.wait_log("stands by");
    let mut third = plexus.start_successor();
    let target = target(&node);
    plexus.runtime.add(&target).result();
    // The first daemon learns that the session of the second has ended, but must not serve.
    third.wait_ready();
    let log = plexus.daemon.log();
    assert!(!log.contains("serves again"), "{log}");
    third.kill();
    // One of the other two serves again.
    plexus.runtime.del(&target).expect_success();
    plexus.runtime.status().expect_success();
    plexus.daemon.stop();
    plexus.runtime.status().expect_success();
    second.stop();
    assert_eq!(socket_dir(&node), [""; 0]);
}

#[test]
fn a_daemon_that_waits_for_the_ledger_stands_by_for_a_newer_one() {
    let node = node!();
    let gate = node.gate("add");
    let mut plexus = start(&node, Some(gate.step()));
    let targets = two_targets(&node);
    let mut newer = None;
    let mut new = take_over_during_adds(&plexus, &gate, &targets, |new| {
        newer = Some(plexus.start_successor());
        // The first new daemon gets the ledger only after the newer one has exited, so it must not
        // keep the queued call.
        new.wait_log("another plexusd serves; this one stands by");
    });
    new.stop();
    plexus.daemon.stop();
    plexus.runtime.status().expect_success();
    for target in &targets {
        plexus.runtime.del(target).expect_success();
    }
    newer.expect("the newer daemon").stop();
}

#[test]
fn a_suspended_daemon_that_holds_the_ledger_is_reported() {
    let node = node!();
    let mut plexus = start(&node, None);
    let pid = plexus.daemon.pid();
    plexus.daemon.signal(Signal::SIGSTOP);
    let mut new = plexus.start_successor();
    new.wait_log("waiting for the ledger");
    let reply = new.get("/readyz").expect("a reply");
    for part in [
        format!("(pid {pid}, which is stopped)"),
        format!("`kill -CONT {pid}`"),
        format!("`kill -9 {pid}`"),
    ] {
        assert!(
            reply.status == 500 && reply.body.contains(&part),
            "{part}: {reply:?}"
        );
    }
    let target = target(&node);
    let queued = plexus.runtime.start("ADD", &target);
    // The message is repeated, because an administrator may not see the first one.
    new.wait_log("still waiting for the ledger");
    plexus.daemon.signal(Signal::SIGCONT);
    queued.wait().result();
    plexus.runtime.del(&target).expect_success();
    plexus.daemon.stop();
    new.stop();
}

#[test]
fn six_daemons_may_start_at_once() {
    let node = node!();
    let plexus = build(&node, None);
    let mut daemons: Vec<_> = (0..6).map(|_| plexus.new_daemon()).collect();
    thread::scope(|scope| {
        for daemon in &mut daemons {
            scope.spawn(|| {
                daemon.launch();
                daemon.wait_ready();
            });
        }
    });
    while let Some(mut daemon) = daemons.pop() {
        plexus.runtime.status().expect_success();
        daemon.stop();
    }
    assert_eq!(socket_dir(&node), [""; 0]);
}

#[test]
fn a_daemon_without_a_default_network_takes_over_only_to_uninstall() {
    let node = node!();
    let mut plexus = start(&node, None);
    fs::remove_file(node.scratch().join(DEFAULT_NETWORK_FILE)).expect("remove the file");
    let (mut unready, mut uninstalling) = (plexus.new_daemon(), plexus.new_daemon());
    unready.launch();
    unready.wait_log("a running plexusd keeps serving");
    uninstalling.launch_subcommand("uninstall");
    plexus
        .daemon
        .wait_log("another plexusd serves; this one stands by");
    let log = plexus.daemon.log();
    assert_eq!(
        log.matches("another plexusd takes over").count(),
        1,
        "{log}"
    );
    unready.stop();
    plexus.daemon.stop();
    uninstalling.stop();
}
