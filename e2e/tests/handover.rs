//! A daemon takes over from another while pods come and go: an upgrade. No call fails.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plexus_e2e::binaries::binary;
use plexus_e2e::{
    Changes, Daemon, Flavour, Manifests, Node, Pod, Runtime, Script, Step, Target, node,
};
use serde_json::{Value, json};

struct Stage<'n> {
    node: &'n Node,
    manifests: Manifests,
    config: Value,
    network: PathBuf,
}

impl<'n> Stage<'n> {
    /// A node whose default network is the plugin `primary`; its ADD begins with `first`.
    fn set(node: &'n Node, first: Option<Step>) -> Self {
        let add = first.into_iter().chain([
            Step::Link("bridge".into()),
            Step::result("10.4.0.2/24", "10.4.0.1"),
        ]);
        node.plugin(
            "primary",
            &Script::new().on("ADD", add).on("DEL", [Step::Unlink]),
        );
        let network = node.scratch().join("primary.conf");
        let config = json!({"cniVersion": "1.0.0", "name": "primary", "type": "primary"});
        fs::write(&network, config.to_string()).expect("it can be written");
        let manifests = Manifests::new(node.scratch().join("manifests"));
        manifests.pod(&Pod::new("web"));
        let config =
            json!({"binDir": node.bin_dir(), "clusterNetwork": &network, "logLevel": "debug"});
        Self {
            node,
            manifests,
            config,
            network,
        }
    }

    fn daemon(&self) -> Daemon<'n> {
        Daemon::new(self.node, &self.config, self.manifests.dir())
    }

    /// A daemon that has put its socket in the place of the one that runs.
    fn successor(&self) -> Daemon<'n> {
        let mut new = self.daemon();
        let socket = new.socket().to_owned();
        let inode = || {
            self.node
                .run(|| fs::metadata(&socket).map(|socket| socket.ino()).ok())
        };
        let before = inode();
        let changes = Changes::watch(self.node, &[new.socket().parent().expect("a directory")]);
        new.launch();
        changes.until_none(|| (inode() == before).then_some("the old socket"));
        new
    }

    /// What is in the directory of the socket.
    fn names(&self) -> Vec<String> {
        let entries = self.node.run(|| {
            fs::read_dir("/run/plexus")
                .expect("it is there")
                .flatten()
                .collect::<Vec<_>>()
        });
        let mut names: Vec<_> = entries
            .iter()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn runtime(&self) -> Runtime<'n> {
        assert!(self.network.exists());
        let config = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus"});
        Runtime::new(self.node, Flavour::Containerd, binary("plexus"), config)
    }
}

#[test]
fn a_new_daemon_takes_over_and_the_call_in_flight_finishes_with_the_old() {
    let node = node!();
    let gate = node.gate("add");
    let stage = Stage::set(&node, Some(gate.step()));
    let mut old = stage.daemon();
    old.launch();
    old.wait_ready();
    let runtime = stage.runtime();
    let (first, second) = (node.sandbox("first"), node.sandbox("second"));
    let (first, second) = (
        Target::new(&first, "eth0", &Pod::new("web")),
        Target::new(&second, "eth0", &Pod::new("web")),
    );
    let in_flight = runtime.start("ADD", &first);
    let held = gate.wait();
    let mut new = stage.successor();
    // The new daemon has the socket; the old one has the ledger until its call is finished.
    let queued = runtime.start("ADD", &second);
    held.release();
    in_flight.wait().result();
    gate.wait().release();
    queued.wait().result();
    assert_eq!(
        node.calls()
            .iter()
            .filter(|call| call.verb == "ADD")
            .count(),
        2
    );
    // What the old one attached, the new one detaches.
    runtime.del(&first).expect_silence();
    runtime.del(&second).expect_silence();
    assert!(old.log().contains("stands by"), "{}", old.log());
    old.stop();
    new.stop();
}

#[test]
fn the_old_daemon_serves_again_when_the_new_one_dies() {
    let node = node!();
    let stage = Stage::set(&node, None);
    let mut old = stage.daemon();
    old.launch();
    old.wait_ready();
    let runtime = stage.runtime();
    let sandbox = node.sandbox("first");
    let target = Target::new(&sandbox, "eth0", &Pod::new("web"));
    let mut new = stage.successor();
    runtime.add(&target).result();
    new.kill9();
    // No daemon listens for a moment; the shim waits.
    runtime.check(&target).expect_silence();
    runtime.del(&target).expect_silence();
    old.stop();
    assert!(old.log().contains("serves again"), "{}", old.log());
}

#[test]
fn a_daemon_that_stops_finishes_its_calls_and_whoever_comes_waits_for_the_next() {
    let node = node!();
    let gate = node.gate("add");
    let stage = Stage::set(&node, Some(gate.step()));
    let mut daemon = stage.daemon();
    daemon.launch();
    daemon.wait_ready();
    let runtime = stage.runtime();
    let (first, second) = (node.sandbox("first"), node.sandbox("second"));
    let (first, second) = (
        Target::new(&first, "eth0", &Pod::new("web")),
        Target::new(&second, "eth0", &Pod::new("web")),
    );
    let in_flight = runtime.start("ADD", &first);
    let held = gate.wait();
    let changes = Changes::watch(&node, &[daemon.socket().parent().expect("a directory")]);
    daemon.terminate();
    changes.until_none(|| {
        node.run(|| daemon.socket().exists())
            .then_some("the socket")
    });
    let waiting = runtime.start("ADD", &second);
    held.release();
    in_flight.wait().result();
    assert!(daemon.wait_end().success());
    daemon.launch();
    gate.wait().release();
    waiting.wait().result();
    runtime.del(&first).expect_silence();
    runtime.del(&second).expect_silence();
}

#[test]
fn status_does_not_wait_for_the_calls_of_the_daemon_before() {
    plexus_api::rows!("P-105");
    let node = node!();
    let gate = node.gate("add");
    let stage = Stage::set(&node, Some(gate.step()));
    let mut old = stage.daemon();
    old.launch();
    old.wait_ready();
    let runtime = stage.runtime();
    let sandbox = node.sandbox("pod");
    let target = Target::new(&sandbox, "eth0", &Pod::new("web"));
    let in_flight = runtime.start("ADD", &target);
    let held = gate.wait();
    let mut new = stage.successor();
    // The old one cannot let go of the ledger before the plugin goes on.
    runtime.status().expect_silence();
    // But a new one that waits for ever is not well, and says what it waits for.
    for path in ["/healthz", "/readyz"] {
        let reply = new.get(path).expect("an answer");
        let waits = reply.body.contains(&format!("pid {}", old.pid()));
        assert!(reply.status == 500 && waits, "{path}: {reply:?}");
    }
    held.release();
    in_flight.wait().result();
    new.wait_ready();
    runtime.del(&target).expect_silence();
    old.stop();
    new.stop();
}

#[test]
fn a_caller_that_has_come_and_not_spoken_yet_is_answered() {
    let node = node!();
    let stage = Stage::set(&node, None);
    let mut old = stage.daemon();
    old.launch();
    old.wait_ready();
    let connect = || {
        node.run(|| UnixStream::connect(old.socket()))
            .expect("it listens")
    };
    let ask = |mut caller: UnixStream, path: &str| {
        caller
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: plexus\r\n\r\n").as_bytes())
            .expect("it reads");
        let mut answer = String::new();
        caller.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer:?}");
    };
    let (silent, other) = (connect(), connect());
    let mut new = thread::scope(|scope| {
        // It is answered when that daemon takes no more callers in.
        scope.spawn(|| ask(other, "/alive"));
        stage.successor()
    });
    ask(silent, "/healthz");
    new.wait_ready();
    old.stop();
    new.stop();
}

#[test]
fn a_third_daemon_takes_over_while_the_first_stands_by() {
    let node = node!();
    let stage = Stage::set(&node, None);
    let mut first = stage.daemon();
    first.launch();
    first.wait_ready();
    let mut second = stage.successor();
    // From here on it asks the second to tell it of its end.
    second.wait_ready();
    first.wait_log("stands by");
    let mut third = stage.successor();
    let runtime = stage.runtime();
    let sandbox = node.sandbox("pod");
    let target = Target::new(&sandbox, "eth0", &Pod::new("web"));
    runtime.add(&target).result();
    // The first has heard of the end of the second's shift, but not that it is to serve.
    third.wait_ready();
    assert!(!first.log().contains("serves again"), "{}", first.log());
    third.kill9();
    // One of the two serves again, and the other stands by.
    runtime.del(&target).expect_silence();
    runtime.status().expect_silence();
    first.stop();
    runtime.status().expect_silence();
    second.stop();
    assert_eq!(stage.names(), [""; 0]);
}

#[test]
fn a_daemon_that_waits_for_the_ledger_makes_way_for_another() {
    let node = node!();
    let gate = node.gate("add");
    let stage = Stage::set(&node, Some(gate.step()));
    let mut old = stage.daemon();
    old.launch();
    old.wait_ready();
    let runtime = stage.runtime();
    let (first, second) = (node.sandbox("first"), node.sandbox("second"));
    let (first, second) = (
        Target::new(&first, "eth0", &Pod::new("web")),
        Target::new(&second, "eth0", &Pod::new("web")),
    );
    let in_flight = runtime.start("ADD", &first);
    let held = gate.wait();
    let mut one = stage.successor();
    let queued = runtime.start("ADD", &second);
    let mut other = stage.successor();
    // The first new one will not have the ledger before the other ends, so it must not keep the caller.
    one.wait_log("another plexusd serves; this one stands by");
    held.release();
    in_flight.wait().result();
    gate.wait().release();
    queued.wait().result();
    one.stop();
    old.stop();
    runtime.status().expect_silence();
    runtime.del(&first).expect_silence();
    runtime.del(&second).expect_silence();
    other.stop();
}

#[test]
fn a_socket_that_is_removed_is_made_again() {
    let node = node!();
    let stage = Stage::set(&node, None);
    let mut daemon = stage.daemon();
    daemon.launch();
    daemon.wait_ready();
    let runtime = stage.runtime();
    let removals: [fn(&Path); 3] = [
        |socket| fs::remove_file(socket).expect("it is there"),
        |socket| fs::rename(socket, socket.with_extension("moved")).expect("it is there"),
        |socket| {
            fs::rename(socket.parent().expect("a directory"), "/run/elsewhere")
                .expect("it is there");
        },
    ];
    for (turn, remove) in removals.into_iter().enumerate() {
        let socket = daemon.socket().to_owned();
        node.run(|| remove(&socket));
        runtime.status().expect_silence();
        let warnings = daemon
            .log()
            .matches("another program removed the socket")
            .count();
        assert_eq!(warnings, turn + 1, "{}", daemon.log());
    }
    daemon.stop();
    assert_eq!(stage.names(), [""; 0]);
}

#[test]
fn a_daemon_whose_socket_cannot_be_made_again_ends() {
    let node = node!();
    let stage = Stage::set(&node, None);
    let mut daemon = stage.daemon();
    daemon.launch();
    daemon.wait_ready();
    node.run(|| {
        // In the way of the next one.
        fs::create_dir(format!("/run/plexus/.plexus.sock.{}", daemon.pid()))
            .expect("it can be made");
        fs::remove_file(daemon.socket()).expect("it is there");
    });
    assert!(!daemon.wait_end().success());
    assert!(
        daemon
            .log()
            .contains("the socket was removed, and cannot be created again"),
        "{}",
        daemon.log()
    );
}

#[test]
fn what_killed_daemons_left_beside_the_socket_is_swept_up() {
    let node = node!();
    let stage = Stage::set(&node, None);
    let mut daemon = stage.daemon();
    daemon.launch();
    daemon.wait_ready();
    let _alive = node.run(|| {
        // As they are between two lines of taking over or letting go: of a process that is no more, of one that is about to
        // listen, and of one that does.
        for pid in ["4194305", "1"] {
            drop(
                UnixListener::bind(format!("/run/plexus/.plexus.sock.{pid}"))
                    .expect("it can be bound"),
            );
        }
        fs::write("/run/plexus/.plexus.sock.notes", "of somebody else").expect("it can be written");
        UnixListener::bind("/run/plexus/.plexus.sock.2").expect("it can be bound")
    });
    let mut new = stage.successor();
    new.wait_ready();
    assert_eq!(
        stage.names(),
        [
            ".plexus.sock.1",
            ".plexus.sock.2",
            ".plexus.sock.notes",
            "plexus.sock"
        ]
    );
    daemon.stop();
    new.stop();
}

#[test]
fn a_stopped_daemon_that_holds_the_ledger_is_named() {
    let node = node!();
    let stage = Stage::set(&node, None);
    let mut old = stage.daemon();
    old.launch();
    old.wait_ready();
    let pid = old.pid();
    let signal = |signal| {
        kill(
            Pid::from_raw(i32::try_from(pid).expect("a process ID")),
            signal,
        )
        .expect("it is there");
    };
    signal(Signal::SIGSTOP);
    let mut new = stage.successor();
    new.wait_log("waiting for the ledger");
    let reply = new.get("/readyz").expect("an answer");
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
    let (runtime, sandbox) = (stage.runtime(), node.sandbox("pod"));
    let target = Target::new(&sandbox, "eth0", &Pod::new("web"));
    let queued = runtime.start("ADD", &target);
    // More than a line at the start, which nobody looks at.
    new.wait_log("still waiting for the ledger");
    signal(Signal::SIGCONT);
    queued.wait().result();
    runtime.del(&target).expect_silence();
    old.stop();
    new.stop();
}

#[test]
fn any_number_of_daemons_may_start_at_once() {
    let node = node!();
    let stage = Stage::set(&node, None);
    let mut daemons: Vec<_> = (0..6).map(|_| stage.daemon()).collect();
    thread::scope(|scope| {
        for daemon in &mut daemons {
            scope.spawn(|| {
                daemon.launch();
                daemon.wait_ready();
            });
        }
    });
    let runtime = stage.runtime();
    while let Some(mut daemon) = daemons.pop() {
        runtime.status().expect_silence();
        daemon.stop();
    }
    assert_eq!(stage.names(), [""; 0]);
}

#[test]
fn a_daemon_without_the_default_network_takes_over_to_uninstall_alone() {
    let node = node!();
    let stage = Stage::set(&node, None);
    let mut old = stage.daemon();
    old.launch();
    old.wait_ready();
    fs::remove_file(&stage.network).expect("it is there");
    let (mut useless, mut leaving) = (stage.daemon(), stage.daemon());
    useless.launch();
    useless.wait_log("a running plexusd keeps serving");
    leaving.launch_to("uninstall");
    old.wait_log("another plexusd serves; this one stands by");
    assert_eq!(
        old.log().matches("another plexusd takes over").count(),
        1,
        "{}",
        old.log()
    );
    useless.stop();
    old.stop();
    leaving.stop();
}
