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

#[test]
fn the_shim_is_installed_without_a_published_configuration() {
    let node = node!();
    let keys = json!({"shimDir": node.bin_dir()});
    let plexus = plexus_e2e::Plexus::start_with(&node, keys);
    let changes = crate::watch(&node);
    changes.wait_while(|| (!crate::shim(&node).exists()).then_some("no shim"));
    let log = plexus.daemon.log();
    assert!(log.contains("set cniConfigDir to publish one"), "{log}");
    assert!(!node.exists(plexus_e2e::plexus::PUBLISHED));
}

#[test]
fn another_file_takes_the_place_of_the_default_network_only_after_the_grace() {
    let node = node!();
    let mut plexus = build(&node);
    let other = "/etc/cni/net.d/20-aws.conflist";
    write_default_network(&node);
    let aws = json!({"cniVersion": "1.0.0", "name": "aws", "plugins": [{"type": "main"}]});
    node.write(other, aws.to_string());
    plexus.config = with_keys(plexus.config, json!({"primaryGrace": "1h"}));
    plexus.daemon = plexus.new_daemon();
    plexus.daemon.restart();
    let target = plexus.target(&plexus_e2e::Pod::new("web"));
    let cilium = node.read(DEFAULT_NETWORK);
    for content in [None, Some("{")] {
        match content {
            None => node
                .run(|| fs::remove_file(DEFAULT_NETWORK))
                .expect("remove the file"),
            Some(half) => node.write(DEFAULT_NETWORK, half),
        }
        // The daemon starts while the file is missing or half-written.
        plexus.daemon.kill();
        plexus.daemon.launch();
        plexus
            .daemon
            .wait_not_ready("20-aws.conflist takes its place only after");
        plexus
            .runtime
            .add(&target)
            .expect_error(11, &["10-ovn-kubernetes.conf"]);
        plexus.runtime.status().expect_code(50);
    }
    node.write(DEFAULT_NETWORK, &cilium);
    plexus.daemon.wait_ready();
    plexus.runtime.add(&target).result();
    assert_eq!(plexus.calls(), ["ADD ovn eth0"]);
    plexus.runtime.del(&target).expect_success();
    node.forget_calls();
    plexus.daemon.stop();
    node.run(|| fs::remove_file(DEFAULT_NETWORK))
        .expect("remove the file");
    plexus.daemon.configure(&with_keys(
        plexus.config.clone(),
        json!({"primaryGrace": "100ms"}),
    ));
    plexus.daemon.restart();
    plexus.daemon.wait_log("20-aws.conflist takes the place of");
    plexus.runtime.add(&target).result();
    assert_eq!(plexus.calls(), ["ADD main eth0"]);
}
