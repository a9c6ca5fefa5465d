//! What goes wrong on a node, and that it comes right by itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use plexus_api::rows;
use plexus_e2e::binaries::binary;
use plexus_e2e::{Pod, Target, node};
use serde_json::json;

use crate::stage::{NET_D, PRIMARY, Stage, until_not_ready};

/// Mounts something on the node by `mount ARGUMENTS`, which are separated by blanks.
fn mount(stage: &Stage<'_>, arguments: &str) {
    let status = stage
        .node
        .run(|| Command::new("mount").args(arguments.split(' ')).status())
        .expect("mount");
    assert!(status.success(), "mount {arguments}");
}

#[test]
fn directories_that_become_writable_are_tried_again() {
    let node = node!();
    let stage = Stage::set(&node);
    let shims = "/run/shims";
    node.run(|| fs::create_dir(shims)).expect("a directory");
    for dir in [NET_D, shims] {
        mount(&stage, &format!("-t tmpfs tmpfs {dir}"));
    }
    stage.primary();
    for dir in [NET_D, shims] {
        mount(&stage, &format!("-o remount,ro {dir}"));
    }
    let mut config = stage.config();
    config["shimDir"] = json!(shims);
    let mut daemon = stage.daemon(&config);
    daemon.launch();
    // Nobody tells the daemon when a file system becomes writable.
    until_not_ready(
        &daemon,
        "the shim is not installed: /run/shims/plexus: Read-only",
    );
    mount(&stage, &format!("-o remount,rw {shims}"));
    until_not_ready(&daemon, "00-plexus.conflist: Read-only");
    mount(&stage, &format!("-o remount,rw {NET_D}"));
    daemon.wait_ready();
    daemon.stop();

    mount(&stage, &format!("-o remount,ro {NET_D}"));
    daemon.launch_to("uninstall");
    until_not_ready(
        &daemon,
        "cannot uninstall Plexus: /etc/cni/net.d/00-plexus.conflist: Read-only",
    );
    mount(&stage, &format!("-o remount,rw {NET_D}"));
    daemon.wait_ready();
}

#[test]
fn an_uninstall_leaves_no_file_and_is_not_done_while_a_pod_is_attached() {
    rows!("C-25");
    let node = node!();
    let stage = Stage::set(&node);
    stage.primary();
    let mut daemon = stage.daemon(&stage.config());
    daemon.restart();
    let runtime = stage.runtime(binary("plexus"));
    daemon.kill9();
    // What a daemon that was killed while it wrote leaves.
    let parts = [
        Path::new(NET_D).join(".00-plexus.conflist.tmp"),
        stage.bin.join(".plexus.tmp"),
    ];
    for part in &parts {
        node.run(|| fs::write(part, "{")).expect("a file");
    }
    daemon.launch_to("uninstall");
    daemon.wait_ready();
    for part in &parts {
        assert!(!node.run(|| part.exists()), "{}", part.display());
    }
    // A runtime that has not noticed yet, with a shim of its own.
    let sandbox = node.sandbox("web");
    let target = Target::new(&sandbox, "eth0", &Pod::new("web"));
    runtime.add(&target).result();
    until_not_ready(&daemon, "(interfaces: 1, spooled DELs: 0)");
    runtime.del(&target).expect_silence();
    daemon.wait_ready();
}

#[test]
fn a_file_that_is_written_again_and_again_is_not_told_of_again_and_again() {
    rows!("C-16");
    let node = node!();
    let stage = Stage::set(&node);
    stage.write("/etc/cni/net.d/05-broken.conflist", "{");
    stage.primary();
    let mut daemon = stage.daemon(&stage.config());
    daemon.restart();
    let stamp = stage.stamp();
    node.run(|| {
        let text = fs::read(PRIMARY).expect("the primary");
        for _ in 0..1000 {
            fs::write("/etc/cni/net.d/.new", &text).expect("a file");
            fs::rename("/etc/cni/net.d/.new", PRIMARY).expect("a rename");
        }
    });
    // What comes after all that is seen after it.
    stage.write("/etc/cni/net.d/06-broken.conflist", "{");
    daemon.wait_log("06-broken.conflist");
    let log = daemon.log();
    assert_eq!(log.matches("05-broken.conflist").count(), 1, "{log}");
    assert_eq!(stage.stamp(), stamp);
}
