//! A daemon that can still delete starts and serves DEL, if other things are missing. `/readyz` says
//! why it is not ready, and it becomes ready without a restart when the cause is gone.

mod inotify;
mod limits;
mod state_dir;
mod status;

use std::fs;
use std::process::Command;

use plexus_e2e::plexus::NET_D;
use plexus_e2e::{Node, Plexus};
use serde_json::json;

/// Plexus with a short interval of its clean-up.
fn start(node: &Node) -> Plexus<'_> {
    Plexus::start_with(node, json!({"recoveryInterval": "50ms", "goneGap": "0s"}))
}

/// Runs a command on the node. Its arguments are separated by spaces.
fn run(node: &Node, command: &str) {
    let mut words = command.split(' ');
    let mut process = Command::new(words.next().expect("a program"));
    let status = node.run(|| process.args(words).status());
    assert!(status.expect(command).success(), "{command}");
}

#[test]
fn an_unreadable_configuration_directory_makes_the_daemon_not_ready() {
    let node = plexus_e2e::node!();
    let keys = json!({"clusterNetwork": null, "multusAutoconfigDir": NET_D, "goneGap": "0s"});
    let mut plexus = Plexus::on(&node).installed().config(keys).build();
    node.run(|| {
        fs::remove_dir(NET_D).expect("remove the directory");
        fs::write(NET_D, "not a directory").expect("write a file");
    });
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("/etc/cni/net.d");
    let target = plexus.target(&plexus_e2e::Pod::new("web"));
    plexus.runtime.add(&target).expect_code(11);
    plexus.runtime.del(&target).expect_success();
    node.run(|| {
        fs::remove_file(NET_D).expect("remove the file");
        fs::create_dir(NET_D).expect("create the directory");
    });
    let network = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    node.write("/etc/cni/net.d/10-pods.conflist", network.to_string());
    plexus.daemon.wait_ready();
    plexus.daemon.wait_log("ready again");
}

#[test]
fn a_missing_default_network_is_logged_once_and_for_each_call() {
    let node = plexus_e2e::node!();
    let keys = json!({
        "clusterNetwork": null, "multusAutoconfigDir": NET_D, "primaryGrace": "0s", "logLevel": "verbose",
    });
    let mut plexus = Plexus::on(&node).installed().config(keys).build();
    let network = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    node.write("/etc/cni/net.d/10-pods.conflist", network.to_string());
    plexus.daemon.restart();
    node.run(|| fs::remove_file("/etc/cni/net.d/10-pods.conflist"))
        .expect("remove the file");
    plexus.daemon.wait_log("not ready: no default network");
    let target = plexus.target(&plexus_e2e::Pod::new("web"));
    plexus.runtime.add(&target).expect_code(11);
    plexus
        .daemon
        .wait_log("ADD pod default/web: no default network");
    let log = plexus.daemon.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("no default network"));
    assert_eq!(lines.count(), 2, "{log}");
}
