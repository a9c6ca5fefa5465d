//! The daemon is killed at each step of ADD and DEL. After its restart the runtime does not call
//! again.

use plexus_api::rows;
use plexus_e2e::json::with_keys;
use plexus_e2e::leftovers::record_path;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::{Daemon, Gate, Node, PluginCall, Script, Step, attaches, node};
use serde_json::{Value, json};

use crate::{SECOND, attached, is_detached, start, start_with};

/// The lines of the record of an ADD.
const LINES: [&str; 8] = [
    "planned",
    "started",
    "added",
    "started",
    "added",
    "links",
    "statusWritten",
    "completed",
];

#[test]
fn an_add_is_undone_after_a_kill_at_any_line_of_its_record() {
    rows!("R-067", "R-084", "R-085");
    let dels = ["DEL second net1", "DEL main eth0"];
    // The last line before the kill, and the calls of recovery.
    for (last, expected) in [
        ("planned", &[][..]),
        ("torn", &[]),
        ("added", &dels),
        ("statusWritten", &dels),
    ] {
        let node = node!();
        let mut plexus = start(&node);
        let (living, living_target) = attached(&plexus, "living");
        let (sandbox, target) = attached(&plexus, "killed");
        plexus.daemon.kill();
        let record = node.read(record_path(&target));
        let lines: Vec<_> = record.lines().collect();
        assert_eq!(
            lines.iter().map(|line| kind(line)).collect::<Vec<_>>(),
            LINES
        );
        let end = LINES.iter().rposition(|kind| *kind == last);
        let mut cut = lines[..=end.unwrap_or_default()].join("\n") + "\n";
        if last == "torn" {
            cut = lines[0][..lines[0].len() / 2].to_owned();
        }
        node.write(record_path(&target), cut);
        plexus.daemon.restart();
        plexus.wait_records(&[&living_target]);
        assert_eq!(
            plexus.calls_for(&target)[2..],
            *expected,
            "after the line {last}"
        );
        if !expected.is_empty() {
            assert!(is_detached(&sandbox));
            let has_result = |call: &PluginCall| call.config().get("prevResult").is_some();
            let calls = node.calls_for(&target.container);
            assert!(calls[2..].iter().all(has_result), "{calls:?}");
        }
        assert_eq!(plexus.calls_for(&living_target).len(), 2);
        assert!(living.link("eth0").is_some() && living.link("net1").is_some());
        plexus.runtime.check(&living_target).expect_success();
    }
}

#[test]
fn recovery_waits_for_a_plugin_that_survived_its_daemon() {
    rows!("R-067", "R-085");
    let node = node!();
    let mut plexus = start(&node);
    // The second plugin of the ADD makes its link after the daemon was killed.
    let gate = node.gate("second");
    node.plugin(SECOND, &attaches().on("ADD", [gate.step(), Step::link()]));
    let (sandbox, target) = plexus.sandbox("killed", SECOND);
    let running = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    plexus.daemon.kill();
    plexus.daemon.restart();
    assert_eq!(
        running.wait().code(),
        Some(11),
        "the shim does not repeat an ADD"
    );
    plexus
        .daemon
        .wait_log("a plugin of an earlier plexusd still runs");
    // Neither recovery nor the runtime's DEL starts before the plugin has ended.
    let del = plexus.runtime.start("DEL", &target);
    held.release();
    del.wait().expect_success();
    plexus.wait_records(&[]);
    assert_eq!(
        plexus.calls_for(&target),
        [
            "ADD main eth0",
            "ADD second net1",
            "DEL second net1",
            "DEL main eth0"
        ]
    );
    let calls = node.calls_for(&target.container);
    assert!(
        calls[1].end.expect("the plugin exited") <= calls[2].start,
        "{calls:?}"
    );
    assert!(is_detached(&sandbox), "{:?}", sandbox.links());
}

#[test]
fn a_surviving_plugin_that_hangs_is_killed_before_its_del() {
    rows!("R-067");
    let node = node!();
    let gate = node.gate("main");
    let script = attaches().on("ADD", [gate.step(), Step::link()]);
    let calls = calls_after_interruption(&node, &script, &gate, Daemon::kill);
    assert_eq!(calls, ["ADD main eth0", "DEL main eth0"]);
}

#[test]
fn a_rollback_longer_than_the_grace_period_is_repeated_by_the_next_daemon() {
    rows!("R-067");
    let node = node!();
    let gate = node.gate("main");
    let script = Script::new()
        .fails("ADD", 120, "full")
        .on("DEL", [gate.step()]);
    let calls = calls_after_interruption(&node, &script, &gate, |daemon| {
        daemon.stop();
        // Calls of the next daemon do not wait at the gate.
        node.plugin(MAIN, &Script::new());
    });
    assert_eq!(calls, ["ADD main eth0", "DEL main eth0", "DEL main eth0"]);
}

/// Starts an ADD whose first plugin follows `script`, ends the daemon with `end` while the plugin
/// waits at the gate, and starts another daemon. Returns all plugin calls.
fn calls_after_interruption<'n>(
    node: &'n Node,
    script: &Script,
    gate: &Gate,
    end: impl FnOnce(&mut Daemon<'n>),
) -> Vec<String> {
    let mut plexus = start_with(node, json!({"shutdownGrace": "100ms"}));
    node.plugin(MAIN, script);
    let (sandbox, target) = plexus.sandbox("interrupted", SECOND);
    let adding = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    end(&mut plexus.daemon);
    assert!(!adding.wait().ok());
    assert_eq!(node.processes().len(), 1, "only the plugin is running");
    // A short timeout for the new daemon only: the old one must not kill the plugin.
    let keys = with_keys(plexus.config.clone(), json!({"pluginTimeout": "1s"}));
    plexus.daemon.configure(&keys);
    plexus.daemon.restart();
    plexus.wait_records(&[]);
    // The plugin was killed, so opening the gate has no effect.
    drop(held);
    assert_eq!(node.processes().len(), 1, "only plexusd is running");
    assert!(sandbox.link("eth0").is_none(), "{:?}", sandbox.links());
    plexus.calls_for(&target)
}

#[test]
fn a_daemon_that_waits_for_a_surviving_gc_can_be_stopped() {
    let node = node!();
    let default = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": MAIN}]});
    let default = node.write_json("newest.conflist", &default);
    let keys = json!({"clusterNetwork": default, "pluginTimeout": "10m"});
    let mut plexus = start_with(&node, keys);
    let gate = node.gate("gc");
    node.plugin(MAIN, &Script::new().on("GC", [gate.step()]));
    let gc = json!({
        "cniVersion": "1.1.0", "name": "plexus", "type": "plexus",
        "cni.dev/valid-attachments": [],
    });
    let running = plexus.runtime.execute("GC", &[].into(), &gc);
    let held = gate.wait();
    plexus.daemon.kill();
    running.kill();
    plexus.daemon.launch();
    plexus
        .daemon
        .wait_log("a plugin of an earlier plexusd still runs");
    plexus.daemon.terminate();
    assert!(plexus.daemon.wait_exit().success());
    held.release();
}

#[test]
fn a_child_that_a_plugin_leaves_running_on_purpose_is_not_killed() {
    let node = node!();
    let mut plexus = start_with(&node, json!({"pluginTimeout": "3s"}));
    let script = attaches().on("ADD", [Step::link(), Step::HoldOutput]);
    node.plugin(MAIN, &script);
    let (_sandbox, target) = attached(&plexus, "pod");
    let before = node.processes();
    plexus.daemon.kill();
    plexus.daemon.restart();
    plexus.runtime.check(&target).expect_success();
    assert_eq!(
        node.processes().len(),
        before.len(),
        "plexusd and the child"
    );
}

#[test]
fn an_interrupted_del_is_finished() {
    rows!("R-067");
    let node = node!();
    let mut plexus = start(&node);
    let (_living, living_target) = attached(&plexus, "living");
    let (sandbox, target) = attached(&plexus, "killed");
    let gate = node.gate("second");
    for inside in [SECOND, MAIN] {
        node.plugin(inside, &attaches().on("DEL", [gate.step(), Step::Unlink]));
        let running = plexus.runtime.start("DEL", &target);
        let held = gate.wait();
        // The runtime is killed too, so the DEL is not repeated.
        running.kill();
        plexus.daemon.kill();
        node.plugin(inside, &attaches());
        held.release();
        plexus.daemon.restart();
        plexus.wait_records(&[&living_target]);
        assert!(is_detached(&sandbox), "{:?}", sandbox.links());
        // Recovery begins with the interrupted plugin.
        let calls = plexus.calls_for(&target);
        match inside {
            SECOND => assert_eq!(
                calls[2..],
                ["DEL second net1", "DEL second net1", "DEL main eth0"]
            ),
            _ => assert_eq!(
                calls[7..],
                ["DEL second net1", "DEL main eth0", "DEL main eth0"]
            ),
        }
        plexus.runtime.del(&target).expect_success();
        if inside == SECOND {
            plexus.runtime.add(&target).result();
        }
    }
    plexus.runtime.check(&living_target).expect_success();
}

#[test]
fn check_and_del_get_the_result_of_add_after_a_restart() {
    rows!("R-080");
    let node = node!();
    let mut plexus = start(&node);
    let (_sandbox, target) = attached(&plexus, "pod");
    plexus.daemon.kill();
    plexus.daemon.restart();
    let runtime = plexus.runtime_with(json!({"checkPlugins": "all"}));
    runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    let calls = node.calls_for(&target.container);
    let results: Vec<_> = calls[2..]
        .iter()
        .map(|call| call.config()["prevResult"]["interfaces"][0]["name"].clone())
        .collect();
    assert_eq!(results, ["eth0", "net1", "net1", "eth0"], "CHECK, then DEL");
}

/// The kind of a line of a record: a string, or an object with one key.
fn kind(line: &str) -> String {
    match serde_json::from_str(line).expect("a line is JSON") {
        Value::String(kind) => kind,
        Value::Object(map) => map.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}
