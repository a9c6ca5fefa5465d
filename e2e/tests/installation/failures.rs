//! Failures from which the daemon recovers without a restart.

use std::fs;
use std::process::Command;

use plexus_api::rows;
use plexus_e2e::json::with_keys;
use plexus_e2e::plexus::NET_D;
use plexus_e2e::{Node, node};
use serde_json::json;

use crate::{DEFAULT_NETWORK, build, published_stamp, start, write_default_network};

/// Runs `mount` on the node. `arguments` are separated by spaces.
fn mount(node: &Node, arguments: &str) {
    let status = node
        .run(|| Command::new("mount").args(arguments.split(' ')).status())
        .expect("execute mount");
    assert!(status.success(), "mount {arguments}");
}

#[test]
fn writes_to_a_read_only_directory_are_retried() {
    let node = node!();
    let mut plexus = build(&node);
    let shims = "/run/shims";
    node.run(|| fs::create_dir(shims))
        .expect("create the directory");
    for dir in [NET_D, shims] {
        mount(&node, &format!("-t tmpfs tmpfs {dir}"));
    }
    write_default_network(&node);
    for dir in [NET_D, shims] {
        mount(&node, &format!("-o remount,ro {dir}"));
    }
    plexus.config = with_keys(plexus.config, json!({"shimDir": shims}));
    plexus.daemon = plexus.new_daemon();
    plexus.daemon.launch();
    plexus
        .daemon
        .wait_not_ready("the shim is not installed: /run/shims/plexus: Read-only");
    mount(&node, &format!("-o remount,rw {shims}"));
    plexus
        .daemon
        .wait_not_ready("00-plexus.conflist: Read-only");
    mount(&node, &format!("-o remount,rw {NET_D}"));
    plexus.daemon.wait_ready();
    plexus.daemon.stop();

    mount(&node, &format!("-o remount,ro {NET_D}"));
    plexus.daemon.launch_subcommand("uninstall");
    plexus
        .daemon
        .wait_not_ready("cannot uninstall Plexus: /etc/cni/net.d/00-plexus.conflist: Read-only");
    mount(&node, &format!("-o remount,rw {NET_D}"));
    plexus.daemon.wait_ready();
}

#[test]
fn a_broken_file_is_logged_once_while_another_file_changes() {
    rows!("C-16");
    let node = node!();
    node.run(|| fs::create_dir_all(NET_D))
        .expect("create the directory");
    node.write("/etc/cni/net.d/05-broken.conflist", "{");
    let plexus = start(&node);
    let stamp = published_stamp(&node);
    node.run(|| {
        let text = fs::read(DEFAULT_NETWORK).expect("read the file");
        for _ in 0..1000 {
            fs::write("/etc/cni/net.d/.new", &text).expect("write the file");
            fs::rename("/etc/cni/net.d/.new", DEFAULT_NETWORK).expect("rename the file");
        }
    });
    // The daemon sees this file after all changes of the other one.
    node.write("/etc/cni/net.d/06-broken.conflist", "{");
    plexus.daemon.wait_log("06-broken.conflist");
    let log = plexus.daemon.log();
    assert_eq!(log.matches("05-broken.conflist").count(), 1, "{log}");
    assert_eq!(published_stamp(&node), stamp);
}
