//! Sandboxes that end without a DEL.

use std::process::{Command, Stdio};

use plexus_api::rows;
use plexus_e2e::node;
use serde_json::json;

use crate::stage::Stage;

#[test]
fn a_sandbox_that_is_gone_is_deleted_and_a_living_one_is_not() {
    rows!("C-17", "R-067");
    let node = node!();
    let mut stage = Stage::start(&node);
    let (_living, living_target) = stage.attached("living");
    let (first, first_target) = stage.attached("gone-while-it-runs");
    let (second, second_target) = stage.attached("gone-while-it-is-down");
    first.remove();
    stage.wait_records(&[&living_target, &second_target]);
    stage.daemon.kill9();
    second.remove();
    stage.daemon.launch();
    stage.wait_records(&[&living_target]);
    for target in [&first_target, &second_target] {
        assert_eq!(stage.calls(target, 2), ["DEL second net1", "DEL main eth0"]);
        assert!(
            stage.calls_about(target)[2..]
                .iter()
                .all(|call| call.env("CNI_NETNS").is_empty()),
            "a path proves nothing"
        );
    }
    stage.daemon.wait_ready();
    stage.runtime.check(&living_target).expect_silence();
    stage.runtime.del(&living_target).expect_silence();
}

#[test]
fn a_namespace_that_a_process_is_in_is_not_gone() {
    let node = node!();
    let stage = Stage::start(&node);
    let (kept, kept_target) = stage.attached("kept");
    let mut process = kept
        .run(|| Command::new("cat").stdin(Stdio::piped()).spawn())
        .expect("cat");
    let (gone, gone_target) = stage.attached("gone");
    kept.remove();
    gone.remove();
    // The other tells when it would have been deleted, too.
    stage.wait_records(&[&kept_target]);
    assert_eq!(stage.calls(&gone_target, 2).len(), 2);
    assert_eq!(stage.calls(&kept_target, 2), [] as [&str; 0]);
    drop(process.stdin.take());
    process.wait().expect("cat ends");
    stage.wait_records(&[]);
}

#[test]
fn after_a_reboot_all_is_deleted_whatever_the_lines_say() {
    rows!("R-067");
    let node = node!();
    let mut stage = Stage::start(&node);
    let (_sandbox, target) = stage.attached("before");
    stage.daemon.kill9();
    // given a record of an earlier boot, of which the lines after the plan were lost with the power
    let lines = stage.record(&target);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("there is one");
    let plan = lines[0].replace(boot.trim(), "11111111-2222-3333-4444-555555555555");
    assert_ne!(plan, lines[0]);
    stage.write_record(&target, &[plan]);
    stage.daemon.launch();
    stage.wait_records(&[]);
    assert_eq!(
        stage.calls(&target, 2),
        ["DEL second net1", "DEL main eth0"]
    );
    // Its path leads to a namespace of the same number, but that is another one's by now.
    assert!(
        stage.calls_about(&target)[2..]
            .iter()
            .all(|call| call.env("CNI_NETNS").is_empty())
    );
}

#[test]
fn too_many_at_once_are_not_believed() {
    let node = node!();
    let mut stage = Stage::start(&node);
    let pods: Vec<_> = (0..6)
        .map(|index| stage.attached(&format!("pod{index}")))
        .collect();
    stage.daemon.kill9();
    for (sandbox, _) in &pods[1..] {
        sandbox.remove();
    }
    stage.daemon.launch();
    stage
        .daemon
        .wait_log("too many sandboxes look gone at once (5 of 6)");
    stage.daemon.wait_ready();
    // What the runtime asks for is done all the same; with fewer missing, the rest is believed.
    stage
        .runtime
        .del(&pods[1].1.without_netns())
        .expect_silence();
    stage.wait_records(&[&pods[0].1]);
    for (_, target) in &pods[1..] {
        assert_eq!(stage.calls(target, 2), ["DEL second net1", "DEL main eth0"]);
    }
    stage.runtime.check(&pods[0].1).expect_silence();
}

#[test]
fn too_many_at_once_stay_as_they_are() {
    let node = node!();
    let mut stage = Stage::configured(&node, json!({"goneGap": "0"}));
    let pods: Vec<_> = (0..6)
        .map(|index| stage.attached(&format!("pod{index}")))
        .collect();
    stage.daemon.stop();
    for (sandbox, _) in &pods[1..] {
        sandbox.remove();
    }
    let before = node.calls().len();
    stage.daemon.launch();
    for _ in 0..3 {
        // Each start looks once at least.
        stage
            .daemon
            .wait_log("too many sandboxes look gone at once (5 of 6)");
        stage.daemon.restart();
    }
    assert_eq!((stage.records().len(), node.calls().len()), (6, before));
}
