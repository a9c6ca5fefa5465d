//! A daemon takes over from another while pods come and go: an upgrade. No call fails.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use plexus_e2e::binaries::binary;
use plexus_e2e::{Changes, Daemon, Flavour, Manifests, Node, Pod, Runtime, Script, Step, Target, node};
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
        let add = first.into_iter().chain([Step::Link("bridge".into()), Step::result("10.4.0.2/24", "10.4.0.1")]);
        node.plugin("primary", &Script::new().on("ADD", add).on("DEL", [Step::Unlink]));
        let network = node.scratch().join("primary.conf");
        let config = json!({"cniVersion": "1.0.0", "name": "primary", "type": "primary"});
        fs::write(&network, config.to_string()).expect("it can be written");
        let manifests = Manifests::new(node.scratch().join("manifests"));
        manifests.pod(&Pod::new("web"));
        let config = json!({"binDir": node.bin_dir(), "clusterNetwork": &network, "logLevel": "debug"});
        Self { node, manifests, config, network }
    }

    fn daemon(&self) -> Daemon<'n> {
        Daemon::new(self.node, &self.config, self.manifests.dir())
    }

    /// A daemon that has put its socket in the place of the one that runs.
    fn successor(&self) -> Daemon<'n> {
        let mut new = self.daemon();
        let socket = new.socket().to_owned();
        let inode = || self.node.run(|| fs::metadata(&socket).map(|socket| socket.ino()).ok());
        let before = inode();
        let changes = Changes::watch(self.node, &[new.socket().parent().expect("a directory")]);
        new.launch();
        changes.until_none(|| (inode() == before).then_some("the old socket"));
        new
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
    let (first, second) =
        (Target::new(&first, "eth0", &Pod::new("web")), Target::new(&second, "eth0", &Pod::new("web")));
    let in_flight = runtime.start("ADD", &first);
    let held = gate.wait();
    let mut new = stage.successor();
    // The new daemon has the socket; the old one has the ledger until its call is finished.
    let queued = runtime.start("ADD", &second);
    held.release();
    in_flight.wait().result();
    gate.wait().release();
    queued.wait().result();
    assert_eq!(node.calls().iter().filter(|call| call.verb == "ADD").count(), 2);
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
    let (first, second) =
        (Target::new(&first, "eth0", &Pod::new("web")), Target::new(&second, "eth0", &Pod::new("web")));
    let in_flight = runtime.start("ADD", &first);
    let held = gate.wait();
    let changes = Changes::watch(&node, &[daemon.socket().parent().expect("a directory")]);
    daemon.terminate();
    changes.until_none(|| node.run(|| daemon.socket().exists()).then_some("the socket"));
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
