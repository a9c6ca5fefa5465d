//! Sandboxes that end without a DEL.

use std::process::{Command, Stdio};

use plexus_api::rows;
use plexus_e2e::leftovers::record_path;
use plexus_e2e::node;
use serde_json::json;

use crate::{attached, start, start_with};

const DELS: [&str; 2] = ["DEL second net1", "DEL main eth0"];

#[test]
fn a_missing_sandbox_is_cleaned_up_and_an_existing_one_is_kept() {
    rows!("C-17", "R-067");
    let node = node!();
    let mut plexus = start(&node);
    let (_living, living_target) = attached(&plexus, "living");
    let (first, first_target) = attached(&plexus, "removed-while-the-daemon-runs");
    let (second, second_target) = attached(&plexus, "removed-while-it-is-down");
    first.remove();
    plexus.wait_records(&[&living_target, &second_target]);
    plexus.daemon.kill();
    second.remove();
    plexus.daemon.launch();
    plexus.wait_records(&[&living_target]);
    for target in [&first_target, &second_target] {
        assert_eq!(plexus.calls_for(target)[2..], DELS);
        let calls = node.calls_for(&target.container);
        assert!(
            calls[2..]
                .iter()
                .all(|call| call.env("CNI_NETNS").is_empty()),
            "the path may belong to another sandbox"
        );
    }
    plexus.daemon.wait_ready();
    plexus.runtime.check(&living_target).expect_success();
    plexus.runtime.del(&living_target).expect_success();
}

#[test]
fn a_namespace_with_a_process_is_not_missing() {
    let node = node!();
    let plexus = start(&node);
    let (kept, kept_target) = attached(&plexus, "kept");
    let mut process = kept
        .run(|| Command::new("cat").stdin(Stdio::piped()).spawn())
        .expect("start cat");
    let (removed, removed_target) = attached(&plexus, "removed");
    kept.remove();
    removed.remove();
    // By the time one is deleted, the other would have been deleted as well.
    plexus.wait_records(&[&kept_target]);
    assert_eq!(plexus.calls_for(&removed_target)[2..].len(), 2);
    assert_eq!(plexus.calls_for(&kept_target)[2..], [""; 0]);
    drop(process.stdin.take());
    process.wait().expect("cat exits");
    plexus.wait_records(&[]);
}

#[test]
fn after_a_reboot_a_record_with_only_its_plan_is_deleted() {
    rows!("R-067");
    let node = node!();
    let mut plexus = start(&node);
    let (_sandbox, target) = attached(&plexus, "before");
    plexus.daemon.kill();
    // A power failure may lose all lines after the plan.
    let record = node.read(record_path(&target));
    let plan = record.lines().next().expect("a plan");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot ID");
    let earlier = plan.replace(boot.trim(), "11111111-2222-3333-4444-555555555555");
    assert_ne!(plan, earlier);
    node.write(record_path(&target), earlier + "\n");
    plexus.daemon.launch();
    plexus.wait_records(&[]);
    assert_eq!(plexus.calls_for(&target)[2..], DELS);
    // The namespace at that path has the same inode, but belongs to another sandbox after a reboot.
    let calls = node.calls_for(&target.container);
    assert!(
        calls[2..]
            .iter()
            .all(|call| call.env("CNI_NETNS").is_empty())
    );
}

#[test]
fn too_many_missing_sandboxes_are_deleted_only_after_a_del_of_one() {
    let node = node!();
    let mut plexus = start(&node);
    let pods: Vec<_> = (0..6)
        .map(|index| attached(&plexus, &format!("pod{index}")))
        .collect();
    plexus.daemon.kill();
    for (sandbox, _) in &pods[1..] {
        sandbox.remove();
    }
    plexus.daemon.launch();
    plexus
        .daemon
        .wait_log("too many sandboxes look gone at once (5 of 6)");
    plexus.daemon.wait_ready();
    // A DEL of the runtime is executed; with one less missing, the others are deleted as well.
    plexus
        .runtime
        .del(&pods[1].1.without_netns())
        .expect_success();
    plexus.wait_records(&[&pods[0].1]);
    for (_, target) in &pods[1..] {
        assert_eq!(plexus.calls_for(target)[2..], DELS);
    }
    plexus.runtime.check(&pods[0].1).expect_success();
}

#[test]
fn too_many_missing_sandboxes_are_kept_after_several_restarts() {
    let node = node!();
    let mut plexus = start_with(&node, json!({"goneGap": "0"}));
    let pods: Vec<_> = (0..6)
        .map(|index| attached(&plexus, &format!("pod{index}")))
        .collect();
    plexus.daemon.stop();
    for (sandbox, _) in &pods[1..] {
        sandbox.remove();
    }
    let before = node.calls().len();
    plexus.daemon.launch();
    for _ in 0..3 {
        // Each daemon looks for missing sandboxes at its start.
        plexus
            .daemon
            .wait_log("too many sandboxes look gone at once (5 of 6)");
        plexus.daemon.restart();
    }
    assert_eq!((plexus.records().len(), node.calls().len()), (6, before));
}
