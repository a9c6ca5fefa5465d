//! The directory of the files is read-only.

use std::fs;
use std::process::Command;

use plexus_api::rows;
use plexus_e2e::{Node, Plexus, Pod, attaches, node};
use serde_json::json;

use super::{DIR, attach, device_network, device_pod, document, file, network, write_device_file};

/// The parent of all device-info files.
const MOUNT_POINT: &str = "/var/run/k8s.cni.cncf.io";

fn mount(node: &Node, arguments: &[&str]) {
    let mut mount = Command::new("mount");
    let mut mount = node
        .spawn(mount.args(arguments).arg(MOUNT_POINT))
        .expect("start mount");
    assert!(mount.wait().expect("mount").success());
}

/// Mounts a file system of its own for the files.
fn mount_writable(node: &Node) {
    node.run(|| fs::create_dir_all(MOUNT_POINT))
        .expect("create the directory");
    mount(node, &["-t", "tmpfs", "tmpfs"]);
}

#[test]
fn a_file_that_was_never_made_delays_no_del() {
    rows!("D-009");
    let node = node!();
    let plexus = Plexus::start(&node);
    mount_writable(&node);
    network(&plexus, "made", &attaches());
    let (sandbox, target) = attach(&plexus, &Pod::new("p").with_networks("made"));
    assert_eq!(node.list(DIR), [""; 0]);
    mount(&node, &["-o", "remount,ro"]);
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_file_that_cannot_be_removed_delays_no_del_and_is_removed_later() {
    rows!("D-009", "D-018");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"recoveryInterval": "20ms"}));
    mount_writable(&node);
    write_device_file(&node, &document().to_string());
    device_network(&plexus, "device", &attaches());
    let (sandbox, target) = attach(&plexus, &device_pod("device"));
    let file = file(&target, "device");
    assert!(node.exists(&file));
    mount(&node, &["-o", "remount,ro"]);
    plexus.runtime.del(&target).expect_success();
    assert_eq!(sandbox.link_names(), ["lo"]);
    assert_eq!(plexus.calls_of("DEL").len(), 2);
    let log = plexus.daemon.log();
    assert!(log.contains("DetachOrphaned"), "{log}");
    for part in [&file, "mount it writable", "plexusd ledger list"] {
        assert!(log.contains(part), "{part} in {log}");
    }
    assert!(!log.contains("os error"), "{log}");
    assert!(node.exists(&file));
    plexus.wait_records(&[&target]);
    // A retry of the runtime succeeds as well, and runs no plugin again.
    plexus.runtime.del(&target).expect_success();
    assert_eq!(plexus.calls_of("DEL").len(), 2);
    mount(&node, &["-o", "remount,rw"]);
    plexus.wait_records(&[]);
    assert!(!node.exists(&file));
}
