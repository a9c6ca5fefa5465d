//! The daemon is killed at each step of ADD and DEL. After its start nobody calls it.

use plexus_api::rows;
use plexus_e2e::plexus::{MAIN, attaches, with_keys, write};
use plexus_e2e::{Call, Daemon, Gate, Node, Script, Step, node};
use serde_json::json;

use crate::stage::{SECOND, Stage};

/// After the line of this kind, as many of them as there are.
#[test]
fn an_add_is_undone_whatever_was_the_last_line_before_the_kill() {
    rows!("R-067", "R-084", "R-085");
    let dels = ["DEL second net1", "DEL main eth0"];
    // lines that are left, what is called then
    for (last, expected) in [
        ("planned", &[][..]),
        ("torn", &[]),
        ("added", &dels),
        ("statusWritten", &dels),
    ] {
        let node = node!();
        let mut stage = Stage::start(&node);
        let (living, living_target) = stage.attached("living");
        let (sandbox, target) = stage.attached("killed");
        stage.daemon.kill9();
        let lines = stage.record(&target);
        let kinds: Vec<_> = lines.iter().map(|line| kind(line)).collect();
        assert_eq!(
            kinds,
            [
                "planned",
                "started",
                "added",
                "started",
                "added",
                "statusWritten",
                "completed"
            ]
        );
        let end = kinds
            .iter()
            .rposition(|kind| *kind == last)
            .unwrap_or_default();
        stage.write_record(&target, &lines[..=end]);
        if last == "torn" {
            let half = &lines[0][..lines[0].len() / 2];
            node.run(|| {
                std::fs::write(crate::stage::record_path(&target), half)
                    .expect("it can be written");
            });
        }
        stage.daemon.restart();
        stage.wait_records(&[&living_target]);
        assert_eq!(stage.calls(&target, 2), expected, "after the line {last}");
        if !expected.is_empty() {
            assert!(sandbox.link("eth0").is_none() && sandbox.link("net1").is_none());
            let previous = |call: &Call| call.config().get("prevResult").is_some();
            assert!(
                stage.calls_about(&target)[2..].iter().all(previous),
                "each has what its ADD answered"
            );
        }
        assert_eq!(
            stage.calls(&living_target, 0).len(),
            2,
            "the living one is left alone"
        );
        assert!(living.link("eth0").is_some() && living.link("net1").is_some());
        stage.runtime.check(&living_target).expect_silence();
    }
}

#[test]
fn a_plugin_that_outlives_its_daemon_is_waited_for() {
    rows!("R-067", "R-085");
    let node = node!();
    let mut stage = Stage::start(&node);
    // given an ADD that is in its second plugin, which makes its link late
    let gate = node.gate("second");
    node.plugin(
        SECOND,
        &attaches().on("ADD", [gate.step(), Step::Link("bridge".into())]),
    );
    let (sandbox, target) = stage.sandbox("killed");
    let running = stage.runtime.start("ADD", &target);
    let held = gate.wait();
    // when the daemon is killed and the plugin is not
    stage.kill_and_restart();
    assert_eq!(
        running.wait().code(),
        Some(11),
        "the shim does not send an ADD twice"
    );
    stage
        .daemon
        .wait_log("a plugin of an earlier plexusd still runs");
    // then neither recovery nor the runtime's DEL runs ahead of it
    let del = stage.runtime.start("DEL", &target);
    held.release();
    del.wait().expect_silence();
    stage.wait_records(&[]);
    let calls = stage.calls_about(&target);
    let summaries: Vec<_> = calls.iter().map(Call::summary).collect();
    assert_eq!(
        summaries,
        [
            "ADD main eth0",
            "ADD second net1",
            "DEL second net1",
            "DEL main eth0"
        ]
    );
    assert!(
        calls[1].end.expect("it ended by itself") <= calls[2].start,
        "{calls:?}"
    );
    assert!(
        sandbox.link("eth0").is_none() && sandbox.link("net1").is_none(),
        "{:?}",
        sandbox.links()
    );
}

#[test]
fn a_plugin_that_a_killed_daemon_left_running_is_ended_before_its_del() {
    rows!("R-067");
    let node = node!();
    let gate = node.gate("main");
    // given an ADD that is in a plugin which is about to make its link, and never goes on
    let script = attaches().on("ADD", [gate.step(), Step::Link("bridge".into())]);
    let verbs = interrupted(&node, &script, &gate, Daemon::kill9);
    assert_eq!(verbs, ["ADD main eth0", "DEL main eth0"]);
}

#[test]
fn a_rollback_that_outlasts_the_grace_is_ended_by_the_next_daemon_and_done_again() {
    rows!("R-067");
    let node = node!();
    let gate = node.gate("main");
    let script = Script::new()
        .fails("ADD", 120, "full")
        .on("DEL", [gate.step()]);
    let verbs = interrupted(&node, &script, &gate, |daemon| {
        daemon.stop();
        // What the next daemon calls does not wait.
        node.plugin(MAIN, &Script::new());
    });
    assert_eq!(verbs, ["ADD main eth0", "DEL main eth0", "DEL main eth0"]);
}

/// Starts an ADD whose first plugin does `script`, ends the daemon when the plugin is at the gate, and starts another, until
/// nothing is left. What the plugins were asked.
fn interrupted<'n>(
    node: &'n Node,
    script: &Script,
    gate: &Gate,
    end: impl FnOnce(&mut Daemon<'n>),
) -> Vec<String> {
    let mut stage = Stage::configured(node, json!({"shutdownGrace": "100ms"}));
    node.plugin(MAIN, script);
    let (sandbox, target) = stage.sandbox("interrupted");
    let adding = stage.runtime.start("ADD", &target);
    let held = gate.wait();
    end(&mut stage.daemon);
    assert!(!adding.wait().ok());
    assert_eq!(node.processes().len(), 1, "only the plugin runs");
    // Only the new daemon is impatient: the old one is not to end the plugin by its time limit.
    stage.daemon.configure(&with_keys(
        stage.config.clone(),
        json!({"pluginTimeout": "1s"}),
    ));
    stage.daemon.restart();
    stage.wait_records(&[]);
    // It was killed, not let go: opening the gate now makes nothing.
    drop(held);
    assert_eq!(node.processes().len(), 1, "plexusd alone");
    assert!(sandbox.link("eth0").is_none(), "{:?}", sandbox.links());
    stage.calls(&target, 0)
}

#[test]
fn a_daemon_that_waits_for_an_earlier_gc_can_be_stopped() {
    let node = node!();
    let default = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": MAIN}]});
    let default = write(&node, "newest.conflist", &default);
    let mut stage = Stage::configured(
        &node,
        json!({"clusterNetwork": default, "pluginTimeout": "10m"}),
    );
    let gate = node.gate("gc");
    node.plugin(MAIN, &Script::new().on("GC", [gate.step()]));
    let gc = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus", "cni.dev/valid-attachments": []});
    let running = stage.runtime.execute("GC", &[].into(), &gc);
    let held = gate.wait();
    stage.daemon.kill9();
    running.kill();
    stage.daemon.launch();
    stage
        .daemon
        .wait_log("a plugin of an earlier plexusd still runs");
    stage.daemon.terminate();
    assert!(stage.daemon.wait_end().success());
    held.release();
}

#[test]
fn what_a_plugin_leaves_running_on_purpose_is_left_alone() {
    let node = node!();
    let mut stage = Stage::configured(&node, json!({"pluginTimeout": "300ms"}));
    node.plugin(
        MAIN,
        &attaches().on("ADD", [Step::Link("bridge".into()), Step::HoldOutput]),
    );
    let (_sandbox, target) = stage.attached("helped");
    let helper = node.processes();
    stage.kill_and_restart();
    stage.runtime.check(&target).expect_silence();
    assert_eq!(
        node.processes().len(),
        helper.len(),
        "plexusd and the helper"
    );
}

#[test]
fn a_del_that_was_begun_is_finished() {
    rows!("R-067");
    let node = node!();
    let mut stage = Stage::start(&node);
    let (_living, living_target) = stage.attached("living");
    let (sandbox, target) = stage.attached("killed");
    let gate = node.gate("second");
    for inside in [SECOND, MAIN] {
        // given a DEL that is in one of its plugins
        node.plugin(inside, &attaches().on("DEL", [gate.step(), Step::Unlink]));
        let running = stage.runtime.start("DEL", &target);
        let held = gate.wait();
        // when the runtime and the daemon are killed, so that nobody asks again
        running.kill();
        stage.daemon.kill9();
        node.plugin(inside, &attaches());
        held.release();
        stage.daemon.restart();
        // then it is finished, from the plugin on in which it was
        stage.wait_records(&[&living_target]);
        assert!(
            sandbox.link("eth0").is_none() && sandbox.link("net1").is_none(),
            "{:?}",
            sandbox.links()
        );
        let calls = stage.calls(&target, 0);
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
        stage.runtime.del(&target).expect_silence();
        if inside == SECOND {
            stage.runtime.add(&target).result();
        }
    }
    stage.runtime.check(&living_target).expect_silence();
}

#[test]
fn what_add_answered_is_there_for_del_after_a_restart() {
    rows!("R-080");
    let node = node!();
    let mut stage = Stage::start(&node);
    let (_sandbox, target) = stage.attached("pod");
    stage.kill_and_restart();
    stage.runtime.check(&target).expect_silence();
    stage.runtime.del(&target).expect_silence();
    let calls = stage.calls_about(&target);
    let results: Vec<_> = calls[2..]
        .iter()
        .map(|call| call.config()["prevResult"]["interfaces"][0]["name"].clone())
        .collect();
    assert_eq!(
        results,
        ["eth0", "net1", "net1", "eth0"],
        "CHECK and then DEL"
    );
}

fn kind(line: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
    match &value {
        serde_json::Value::String(kind) => kind.clone(),
        value => value
            .as_object()
            .and_then(|map| map.keys().next().cloned())
            .unwrap_or_default(),
    }
}
