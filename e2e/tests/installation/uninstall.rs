//! `plexusd uninstall`.

use std::fs;
use std::path::Path;

use plexus_api::rows;
use plexus_e2e::binaries::binary;
use plexus_e2e::plexus::{NET_D, PUBLISHED};
use plexus_e2e::{Flavour, Pod, Runtime, Script, Step, node};
use serde_json::json;

use crate::{
    DEFAULT_NETWORK, build_with, published_runtime, shim, start, watch, write_default_network,
};

/// The marker of a finished uninstall.
const UNINSTALLED: &str = "/var/lib/plexus/uninstalled";

#[test]
fn uninstall_withdraws_the_configuration_first_and_removes_the_shim_last() {
    rows!("C-25");
    let node = node!();
    let mut plexus = start(&node);
    let [target, other] = ["web", "db"].map(|name| plexus.target(&Pod::new(name)));
    let runtime = published_runtime(&plexus, shim(&node));
    for target in [&target, &other] {
        runtime.add(target).result();
    }
    plexus.daemon.stop();

    // Without another configuration pods of this node would have no network.
    node.run(|| fs::remove_file(DEFAULT_NETWORK))
        .expect("remove the file");
    plexus.daemon.launch_subcommand("uninstall");
    plexus
        .daemon
        .wait_not_ready("until the runtime has another configuration");
    assert!(node.exists(PUBLISHED));
    write_default_network(&node);
    plexus
        .daemon
        .wait_not_ready("until these are deleted: pod default/db, pod default/web");
    runtime.del(&other).expect_success();
    plexus
        .daemon
        .wait_not_ready("until these are deleted: pod default/web");
    assert!(!node.exists(PUBLISHED));
    assert!(shim(&node).exists(), "the last pod can still be deleted");
    assert!(!node.exists(UNINSTALLED));

    runtime.del(&target).expect_success();
    plexus.daemon.wait_ready();
    assert!(!shim(&node).exists());
    assert!(node.exists(UNINSTALLED));
    assert!(node.exists(DEFAULT_NETWORK));
    plexus.daemon.stop();
    // Attached interfaces are normal during an uninstall, and logged once.
    let log = plexus.daemon.log();
    let waiting: Vec<_> = log
        .lines()
        .filter(|line| line.contains("until these are deleted"))
        .collect();
    assert!(
        waiting.len() == 1
            && waiting[0].contains(" INFO uninstall is waiting until ")
            && waiting[0].contains("pod default/db, pod default/web; "),
        "{waiting:#?}"
    );
    assert!(!log.contains(" ERROR "), "{log}");

    // The marker tells a shim that is still installed elsewhere that nothing is attached.
    let late = Runtime::new(
        &node,
        Flavour::Crio,
        binary("plexus"),
        json!({"cniVersion": "1.0.0", "name": "plexus"}),
    );
    late.del(&target).expect_success();
    // `serve` installs Plexus again.
    plexus.daemon.restart();
    assert!(node.exists(PUBLISHED) && !node.exists(UNINSTALLED));
    assert!(shim(&node).exists());
}

#[test]
fn uninstall_removes_temporary_files_and_is_not_ready_while_a_pod_is_attached() {
    rows!("C-25");
    let node = node!();
    let mut plexus = start(&node);
    let runtime = published_runtime(&plexus, binary("plexus"));
    plexus.daemon.kill();
    // A daemon that is killed while it writes leaves such files.
    let temporary = [
        Path::new(NET_D).join(".00-plexus.conflist.tmp"),
        node.bin_dir().join(".plexus.tmp"),
    ];
    for file in &temporary {
        node.write(file, "{");
    }
    plexus.daemon.launch_subcommand("uninstall");
    plexus.daemon.wait_ready();
    for file in &temporary {
        assert!(!node.exists(file), "{}", file.display());
    }
    // A runtime that still has the old configuration and a shim of its own.
    let target = plexus.target(&Pod::new("web"));
    runtime.add(&target).result();
    plexus
        .daemon
        .wait_not_ready("until these are deleted: pod default/web");
    runtime.del(&target).expect_success();
    plexus.daemon.wait_ready();
}

/// The marker of an uninstall that has begun.
const UNINSTALLING: &str = "/var/lib/plexus/uninstalling";

#[test]
fn a_daemon_that_stands_by_continues_an_uninstall_that_is_broken_off() {
    let node = node!();
    let mut plexus = start(&node);
    let target = plexus.target(&Pod::new("web"));
    let runtime = published_runtime(&plexus, shim(&node));
    runtime.add(&target).result();
    let mut uninstall = plexus.new_daemon();
    uninstall.launch_subcommand("uninstall");
    uninstall.wait_not_ready("until these are deleted: pod default/web");
    assert!(node.exists(UNINSTALLING) && !node.exists(PUBLISHED));
    plexus.daemon.wait_log("another plexusd serves");

    // The DaemonSet is deleted: the pod of the uninstall ends first.
    uninstall.stop();
    plexus
        .daemon
        .wait_not_ready("restart it to install Plexus again");
    // kubelet restarts the container if its pod stays.
    assert_eq!(plexus.daemon.status_of("/healthz"), 500);
    assert!(shim(&node).exists(), "the pod can still be deleted");
    let late = plexus.target(&Pod::new("db"));
    runtime.add(&late).result();
    runtime.del(&late).expect_success();
    runtime.del(&target).expect_success();
    plexus.daemon.wait_log("uninstall is complete");
    plexus.daemon.stop();
    assert!(!node.exists(PUBLISHED) && !shim(&node).exists());

    // A daemon that is started later installs Plexus again.
    plexus.daemon.restart();
    assert!(node.exists(PUBLISHED) && shim(&node).exists() && !node.exists(UNINSTALLING));
}

#[test]
fn a_killed_uninstall_that_waits_is_continued_and_does_not_publish() {
    let node = node!();
    let mut plexus = start(&node);
    node.run(|| fs::remove_file(DEFAULT_NETWORK))
        .expect("remove the file");
    let mut uninstall = plexus.new_daemon();
    uninstall.launch_subcommand("uninstall");
    uninstall.wait_not_ready("until the runtime has another configuration");
    uninstall.kill();
    plexus
        .daemon
        .wait_not_ready("until the runtime has another configuration");
    write_default_network(&node);
    plexus.daemon.wait_log("uninstall is complete");
    assert!(!node.exists(PUBLISHED));
    plexus.daemon.stop();
    assert!(!node.exists(PUBLISHED) && !shim(&node).exists());
}

#[test]
fn a_container_of_the_old_daemon_set_that_is_started_again_does_not_stop_an_uninstall() {
    let node = node!();
    let mut plexus = start(&node);
    let target = plexus.target(&Pod::new("web"));
    let runtime = published_runtime(&plexus, shim(&node));
    runtime.add(&target).result();
    plexus.daemon.stop();
    let [mut old, mut uninstall] = [1, 2].map(|generation| plexus.new_daemon().of(generation));
    old.restart();
    uninstall.launch_subcommand("uninstall");
    uninstall.wait_not_ready("until these are deleted: pod default/web");
    old.kill();
    old.launch();
    old.wait_log("a newer plexusd serves");
    runtime.del(&target).expect_success();
    uninstall.wait_ready();
    assert!(!node.exists(PUBLISHED));
    // The pod of the uninstall is removed first when the DaemonSet is deleted.
    uninstall.stop();
    old.wait_not_ready("restart it to install Plexus again");
    old.stop();
    assert!(!node.exists(PUBLISHED) && !shim(&node).exists());
    // Another installation has a newer generation.
    uninstall.launch_subcommand("uninstall");
    uninstall.wait_ready();
    let mut new = plexus.new_daemon().of(3);
    let changes = watch(&node);
    new.launch();
    changes.wait_while(|| plexus.published().is_none().then_some("not published"));
    uninstall.stop();
    new.stop();
}

#[test]
fn uninstall_does_not_wait_for_records_of_sandboxes_that_are_gone() {
    let node = node!();
    let mut plexus = build_with(&node, json!({"orphanAfter": "0s"}));
    write_default_network(&node);
    plexus.daemon.restart();
    let target = plexus.target(&Pod::new("web"));
    let runtime = published_runtime(&plexus, shim(&node));
    runtime.add(&target).result();
    let add = [Step::link(), Step::result("10.4.0.2/24", "10.4.0.1")];
    let fails = Script::new().on("ADD", add).fails("DEL", 120, "no answer");
    node.plugin("ovn", &fails);
    runtime.del(&target).expect_code(120);
    plexus.daemon.stop();
    plexus.daemon.launch_subcommand("uninstall");
    plexus
        .daemon
        .wait_not_ready("until these are deleted: pod default/web");
    while !runtime.del(&target).ok() {}
    plexus.daemon.wait_ready();
    assert!(!shim(&node).exists() && node.exists(UNINSTALLED));
    plexus
        .daemon
        .wait_log("their records stay in /var/lib/plexus");
    assert_eq!(plexus.records(), [target.container]);
}
