//! GC while pods start and stop.

use std::thread;
use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_e2e::{Gate, Node, Plexus, Pod, Step, attaches, node};
use serde_json::{Value, json};

use crate::start_with_gc;

const GC_WAITS: &str = "GC waits for the calls in flight";

fn start(node: &Node) -> Plexus<'_> {
    start_with_gc(node, json!({"logLevel": "debug"}))
}

/// Makes ADD of the default network wait at `gate`.
fn hold_add(node: &Node, gate: &Gate) {
    let script = attaches().on("ADD", [gate.step(), Step::link()]);
    node.plugin("main", &script);
}

/// The definition `a` of version 1.1.0.
fn define_a(plexus: &Plexus<'_>) {
    let config = json!({"cniVersion": "1.1.0", "name": "a", "type": "a"});
    plexus.manifests.definition("a", &config);
    plexus.node.plugin("a", &attaches());
}

fn valid(config: &Value) -> &Value {
    &config["cni.dev/valid-attachments"]
}

#[test]
fn gc_waits_for_an_add_and_keeps_its_interface() {
    rows!("P-113", "R-101");
    let node = node!();
    let gate = node.gate("add");
    let plexus = start(&node);
    plexus.attached("stale", "");
    hold_add(&node, &gate);
    let (sandbox, target) = plexus.sandbox("p", "");
    let add = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    node.forget_calls();
    // The runtime's list does not contain an interface whose ADD has not returned.
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[]));
        plexus.daemon.wait_log(GC_WAITS);
        held.release();
        add.wait().result();
        gc.join().expect("no panic").expect_success();
    });
    plexus.runtime.check(&target).expect_success();
    assert_eq!(
        plexus.calls(),
        ["DEL main eth0", "GC main", "CHECK main eth0"]
    );
    assert_eq!(
        *valid(&node.calls()[1].config()),
        json!([{"containerID": sandbox.id(), "ifname": "eth0"}])
    );
}

#[test]
fn gc_keeps_an_interface_that_was_attached_again_while_gc_ran() {
    rows!("P-109");
    let node = node!();
    let gate = node.gate("del");
    let plexus = start_with_gc(&node, json!({}));
    // GC deletes in the order of the container IDs.
    let mut sandboxes = [node.sandbox("one"), node.sandbox("two")];
    sandboxes.sort_by_key(|sandbox| sandbox.id().to_owned());
    let [first, second] = sandboxes
        .each_ref()
        .map(|sandbox| sandbox.target(&Pod::new("p")));
    plexus.runtime.add(&first).result();
    plexus.runtime.add(&second).result();
    node.plugin("main", &attaches().on("DEL", [gate.step(), Step::Unlink]));
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[]));
        let held = gate.wait();
        node.plugin("main", &attaches());
        plexus.runtime.del(&second).expect_success();
        plexus.runtime.add(&second).result();
        held.release();
        gc.join().expect("no panic").expect_success();
    });
    plexus.runtime.check(&first).expect_code(108);
    plexus.runtime.check(&second).expect_success();
    let gc = plexus.calls_of("GC").remove(0);
    assert_eq!(
        *valid(&gc.config()),
        json!([{"containerID": second.container, "ifname": "eth0"}])
    );
}

#[test]
fn other_pods_start_and_stop_while_gc_waits() {
    rows!("P-113");
    let node = node!();
    let gate = node.gate("add");
    let plexus = start(&node);
    hold_add(&node, &gate);
    let slow = plexus.target(&Pod::new("slow"));
    let add = plexus.runtime.start("ADD", &slow);
    let held = gate.wait();
    node.plugin("main", &attaches());
    let other = plexus.target(&Pod::new("other"));
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[]));
        plexus.daemon.wait_log(GC_WAITS);
        plexus.runtime.add(&other).result();
        plexus.runtime.del(&other).expect_success();
        held.release();
        add.wait().result();
        gc.join().expect("no panic").expect_success();
    });
    assert_eq!(
        plexus.calls(),
        ["ADD main eth0", "ADD main eth0", "DEL main eth0", "GC main"]
    );
}

#[test]
fn gc_skips_a_network_whose_plugin_hangs_and_does_not_delay_pods() {
    rows!("P-112", "P-113");
    let node = node!();
    let gate = node.gate("add");
    let plexus = start(&node);
    define_a(&plexus);
    let (stale, _) = plexus.attached("stale", "");
    let (kept, _) = plexus.attached("kept", "a");
    hold_add(&node, &gate);
    let (hung, target) = plexus.sandbox("hung", "");
    let add = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    node.plugin("main", &attaches());
    node.forget_calls();
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[(kept.id(), "eth0")]));
        let other = plexus.target(&Pod::new("other"));
        plexus.daemon.wait_log(GC_WAITS);
        let mut longest = Duration::ZERO;
        while !gc.is_finished() {
            let start = Instant::now();
            plexus.runtime.add(&other).result();
            longest = longest.max(start.elapsed());
            plexus.runtime.del(&other).expect_success();
        }
        let output = gc.join().expect("no panic");
        let msg = output.expect_code(11);
        assert!(
            msg.starts_with("GC: network \"pods\": ") && msg.contains("ADD pod default/hung"),
            "{msg}"
        );
        assert!(longest < Duration::from_secs(4), "{longest:?}");
    });
    // Unlisted interfaces are deleted without waiting.
    assert!(stale.link("eth0").is_none());
    let calls = plexus.calls();
    assert!(
        calls.contains(&"GC a".to_owned()) && !calls.contains(&"GC main".to_owned()),
        "{calls:?}"
    );
    held.release();
    add.wait().result();
    plexus
        .runtime
        .gc(&[(kept.id(), "eth0"), (hung.id(), "eth0")])
        .expect_success();
    plexus.runtime.check(&target).expect_success();
}

#[test]
fn an_add_waits_for_gc_of_its_network_and_its_interface_is_kept() {
    rows!("P-113", "R-101");
    let node = node!();
    let gate = node.gate("gc");
    let plexus = start(&node);
    define_a(&plexus);
    node.plugin("a", &attaches().on("GC", [gate.step()]));
    let (kept, _) = plexus.attached("kept", "a");
    let (late, target) = plexus.sandbox("late", "a");
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[(kept.id(), "eth0")]));
        let held = gate.wait();
        let add = plexus.runtime.start("ADD", &target);
        plexus
            .daemon
            .wait_log("waiting for network \"a\", held by GC");
        // A pod without this network does not wait.
        plexus.attached("other", "");
        held.release();
        gc.join().expect("no panic").expect_success();
        add.wait().result();
    });
    let calls = node.calls();
    let gc = calls.iter().find(|call| call.summary() == "GC a");
    let gc = gc.expect("GC of the network");
    assert_eq!(
        *valid(&gc.config()),
        json!([{"containerID": kept.id(), "ifname": "net1"}])
    );
    let adds = node.calls_for(late.id());
    assert!(
        adds.len() == 2 && adds.iter().all(|add| Some(add.start) > gc.end),
        "{calls:?}"
    );
    plexus.runtime.check(&target).expect_success();
}

#[test]
fn gc_waits_for_a_plugin_that_survived_its_daemon() {
    rows!("P-113");
    let node = node!();
    let gate = node.gate("add");
    let mut plexus = start(&node);
    hold_add(&node, &gate);
    let (sandbox, target) = plexus.sandbox("p", "");
    let add = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    plexus.daemon.kill();
    add.wait();
    plexus.daemon.launch();
    plexus.daemon.wait_ready();
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[(sandbox.id(), "eth0")]));
        plexus.daemon.wait_log(GC_WAITS);
        held.release();
        gc.join().expect("no panic").expect_success();
    });
    let gc = plexus.calls_of("GC").remove(0);
    let add = plexus.calls_of("ADD").remove(0);
    assert!(add.end.is_some_and(|end| end < gc.start), "{add:?} {gc:?}");
}
