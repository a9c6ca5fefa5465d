//! Calls that wait for something that another call holds.

use std::path::Path;
use std::thread;

use plexus_api::rows;
use plexus_e2e::{
    CniTarget, Gate, Held, Node, NodeWatch, Plexus, Pod, RunningCall, Step, attaches, node,
};
use serde_json::{Value, json};

/// Starts Plexus with a single permit, and with `keys`.
fn start(node: &Node, keys: Value) -> Plexus<'_> {
    Plexus::on(node)
        .config(json!({"maxPluginRuns": 1, "pluginTimeout": "1h", "logLevel": "debug"}))
        .config(keys)
        .start()
}

/// Starts an ADD of the pod `holder`, whose plugin waits at the gate with the permit and with the
/// lock of its container.
fn hold_permit(plexus: &Plexus<'_>, gate: &Gate) -> (CniTarget, RunningCall, Held) {
    let script = attaches().on("ADD", [gate.step(), Step::link()]);
    plexus.node.plugin("main", &script);
    let target = plexus.target(&Pod::new("holder"));
    let add = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    plexus.node.plugin("main", &attaches());
    (target, add, held)
}

#[test]
fn an_add_whose_caller_is_gone_stops_waiting_for_a_permit_and_is_undone() {
    rows!("C-12", "R-050");
    let node = node!();
    let (plexus, gate) = (start(&node, json!({})), node.gate("holder"));
    let (holder, add, held) = hold_permit(&plexus, &gate);
    let (sandbox, target) = plexus.sandbox("p", "");
    let waiting = plexus.runtime.start("ADD", &target);
    plexus.wait_records(&[&holder, &target]);
    waiting.kill();
    plexus.wait_records(&[&holder]);
    // Nothing was attached, so the DEL of the runtime needs no permit.
    plexus.runtime.del(&target).expect_success();
    held.release();
    add.wait().result();
    assert_eq!(plexus.calls_for(&target), [""; 0]);
    plexus.runtime.del(&holder).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn an_add_that_waits_for_a_permit_fails_after_its_time_limit_and_names_the_holder() {
    rows!("C-27");
    let node = node!();
    let (plexus, gate) = (start(&node, json!({})), node.gate("holder"));
    let (holder, add, held) = hold_permit(&plexus, &gate);
    let (_, target) = plexus.sandbox("p", "");
    let runtime = plexus.runtime_with(json!({"addTimeout": "1s"}));
    runtime.add(&target).expect_error(
        11,
        &[
            "ADD pod default/p: ",
            "maxPluginRuns: 1",
            "held by ADD pod default/holder",
        ],
    );
    plexus.wait_records(&[&holder]);
    plexus.runtime.del(&target).expect_success();
    held.release();
    add.wait().result();
    assert_eq!(plexus.calls_for(&target), [""; 0]);
    plexus.runtime.add(&target).result();
}

#[test]
fn a_del_that_waits_for_a_permit_fails_after_its_time_limit_and_recovery_finishes_it() {
    rows!("C-27");
    let node = node!();
    let keys = json!({"delTimeout": "1s", "recoveryInterval": "50ms"});
    let (plexus, gate) = (start(&node, keys), node.gate("holder"));
    let (sandbox, target) = plexus.attached("p", "");
    let (holder, add, held) = hold_permit(&plexus, &gate);
    plexus.runtime.del(&target).expect_error(
        11,
        &[
            "DEL pod default/p: ",
            "maxPluginRuns: 1",
            "held by ADD pod default/holder",
        ],
    );
    // Recovery waits for the permit by now, and does not hold the lock that this DEL needs.
    plexus.daemon.wait_log("call=\"recovery of pod default/p\"");
    plexus
        .runtime
        .del(&target)
        .expect_error(11, &["maxPluginRuns: 1"]);
    held.release();
    add.wait().result();
    plexus.wait_records(&[&holder]);
    assert!(sandbox.link("eth0").is_none());
}

#[test]
fn a_check_that_waits_for_a_permit_does_not_delay_a_del() {
    let node = node!();
    let keys = json!({"delTimeout": "1s", "recoveryInterval": "1h"});
    let (plexus, gate) = (start(&node, keys), node.gate("holder"));
    let (_sandbox, target) = plexus.attached("p", "");
    let (_, add, held) = hold_permit(&plexus, &gate);
    let patient = plexus.runtime_with(json!({}));
    let check = patient.start("CHECK", &target);
    plexus.daemon.wait_log("call=\"CHECK pod default/p\"");
    // The DEL waits for the permit only.
    plexus
        .runtime
        .del(&target)
        .expect_error(11, &["maxPluginRuns: 1"]);
    check
        .wait()
        .expect_error(11, &["CHECK pod default/p: ", "maxPluginRuns: 1"]);
    held.release();
    add.wait().result();
}

#[test]
fn calls_that_wait_for_a_container_fail_after_their_time_limit_and_name_the_holder() {
    rows!("C-27", "P-116");
    let node = node!();
    let (plexus, gate) = (
        start(&node, json!({"delTimeout": "1s"})),
        node.gate("holder"),
    );
    let (holder, add, held) = hold_permit(&plexus, &gate);
    let parts = ["lock of container", "held by ADD pod default/holder"];
    plexus.runtime.del(&holder).expect_error(11, &parts);
    plexus.runtime.check(&holder).expect_error(11, &parts);
    let mut other = holder.clone();
    other.ifname = "eth1".to_owned();
    let runtime = plexus.runtime_with(json!({"addTimeout": "1s"}));
    runtime.add(&other).expect_error(11, &parts);
    let abandoned = plexus.daemon.ledger(&["abandon", &holder.container]);
    let error = abandoned.expect_err("the container is locked");
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    held.release();
    add.wait().result();
}

#[test]
fn an_add_whose_caller_is_gone_stops_waiting_for_a_container() {
    rows!("C-12", "R-050");
    let node = node!();
    let (plexus, gate) = (start(&node, json!({})), node.gate("holder"));
    let (holder, add, held) = hold_permit(&plexus, &gate);
    let mut other = holder.clone();
    other.ifname = "eth1".to_owned();
    let waiting = plexus.runtime.start("ADD", &other);
    plexus.daemon.wait_log("waiting for the lock of container");
    waiting.kill();
    plexus
        .daemon
        .wait_log("disconnected while the call was waiting for the lock of container");
    held.release();
    add.wait().result();
    assert_eq!(plexus.calls(), ["ADD main eth0"]);
}

#[test]
fn an_add_that_waits_for_gc_ends_with_its_caller_and_after_its_time_limit() {
    rows!("C-12", "C-27", "P-113");
    let node = node!();
    let (plexus, gate) = (start(&node, json!({})), node.gate("gc"));
    let config = json!({"cniVersion": "1.1.0", "name": "a", "type": "a"});
    plexus.manifests.definition("a", &config);
    node.plugin("a", &attaches().on("GC", [gate.step()]));
    let (_kept, kept) = plexus.attached("kept", "a");
    let (_, target) = plexus.sandbox("p", "a");
    thread::scope(|scope| {
        let gc = scope.spawn(|| plexus.runtime.gc(&[(&kept.container, "eth0")]));
        let held = gate.wait();
        let runtime = plexus.runtime_with(json!({"addTimeout": "1s"}));
        runtime
            .add(&target)
            .expect_error(11, &["ADD pod default/p: ", "network \"a\"", "held by GC"]);
        plexus.wait_records(&[&kept]);
        let waiting = plexus.runtime.start("ADD", &target);
        plexus.wait_records(&[&kept, &target]);
        waiting.kill();
        plexus.wait_records(&[&kept]);
        held.release();
        gc.join().expect("no panic").expect_success();
    });
    assert_eq!(plexus.calls_for(&target), [""; 0]);
}

#[test]
fn gc_asks_every_network_one_after_the_other_although_no_permit_is_free() {
    rows!("P-111", "P-113");
    let node = node!();
    let (plexus, gate) = (start(&node, json!({})), node.gate("holder"));
    for name in ["a", "b", "c"] {
        plexus.network(name, &attaches());
        let config = json!({"cniVersion": "1.1.0", "name": name, "type": name});
        plexus.manifests.definition(name, &config);
    }
    let (_kept, kept) = plexus.attached("kept", "a,b,c");
    let (holder, add, held) = hold_permit(&plexus, &gate);
    let listed = [
        (kept.container.as_str(), "eth0"),
        (holder.container.as_str(), "eth0"),
    ];
    plexus.runtime.gc(&listed).expect_success();
    held.release();
    add.wait().result();
    let calls = plexus.calls_of("GC");
    let mut asked: Vec<_> = calls.iter().map(|call| call.plugin.as_str()).collect();
    asked.sort_unstable();
    assert_eq!(asked, ["a", "b", "c"]);
    let overlap = calls.windows(2).find(|two| Some(two[1].start) < two[0].end);
    assert!(overlap.is_none(), "{overlap:?}");
}

#[test]
fn a_rollback_that_waits_for_a_permit_ends_and_recovery_finishes_it() {
    rows!("C-27");
    let node = node!();
    let keys = json!({"statusRequired": true, "delTimeout": "1s", "recoveryInterval": "50ms"});
    let (plexus, gate) = (start(&node, keys), node.gate("holder"));
    // network-status cannot be written.
    let blocker = plexus
        .manifests
        .dir()
        .join("default.holder.network-status.json");
    std::fs::create_dir(&blocker).expect("create the directory");
    let (_, add, held) = hold_permit(&plexus, &gate);
    // The other ADD gets the permit when the plugins of the first one have run.
    let second = node.gate("second");
    let script = attaches().on("ADD", [second.step(), Step::link()]);
    node.plugin("main", &script);
    let (_other, target) = plexus.sandbox("p", "");
    let other = plexus.runtime.start("ADD", &target);
    plexus.daemon.wait_log("call=\"ADD pod default/p\"");
    held.release();
    let second = second.wait();
    add.wait()
        .expect_error(11, &["ADD pod default/holder: ", "statusRequired"]);
    second.release();
    other.wait().result();
    plexus.wait_records(&[&target]);
}

#[test]
fn a_network_whose_plugin_hangs_does_not_delay_pods_without_it() {
    let node = node!();
    let keys = json!({"maxPluginRuns": 4, "recoveryInterval": "1h"});
    let (plexus, gate) = (start(&node, keys), node.gate("hung"));
    plexus.network("hung", &attaches().on("ADD", [gate.step()]));
    plexus.network("other", &attaches());
    let watch = NodeWatch::new(&node, &[Path::new(node.scratch())]);
    let sandboxes: Vec<_> = (0..6)
        .map(|index| plexus.sandbox(&format!("hung{index}"), "hung"))
        .collect();
    let running: Vec<_> = sandboxes
        .iter()
        .map(|(_, target)| plexus.runtime.start("ADD", target))
        .collect();
    let hanging = || {
        let calls = plexus.calls();
        calls.iter().filter(|call| *call == "ADD hung net1").count()
    };
    watch.wait_while(|| (hanging() < 2).then(|| plexus.calls()));
    // These would fail if they had to wait for a plugin that hangs.
    let runtime = plexus.runtime_with(json!({"addTimeout": "20s"}));
    let plain = plexus.target(&Pod::new("plain"));
    runtime.add(&plain).result();
    let other = plexus.target(
        &Pod::new("other")
            .in_namespace("other")
            .with_networks("default/other"),
    );
    runtime.add(&other).result();
    assert_eq!(hanging(), 2, "half of the permits");
    for add in running {
        add.kill();
    }
    plexus.wait_records(&[&plain, &other]);
}
