//! The ledger during changes of running pods: a disk that cannot be written, lines that cannot be
//! read.

use std::process::Command;

use plexus_api::rows;
use plexus_e2e::leftovers::record_path;
use plexus_e2e::{Cluster, Node, node};
use serde_json::json;

use super::{annotate, attach, calls, start_with, wait_event, wait_settled};

const STATE_DIR: &str = "/var/lib/plexus";

fn mount(node: &Node, arguments: &[&str]) {
    let status = node.run(|| {
        Command::new("mount")
            .args(arguments)
            .arg(STATE_DIR)
            .status()
    });
    assert!(status.expect("execute mount").success(), "{arguments:?}");
}

#[test]
fn nothing_changes_while_the_ledger_cannot_be_written_and_all_of_it_afterwards() {
    rows!("R-085");
    let (node, cluster) = (node!(), Cluster::new());
    let mut plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    plexus.daemon.stop();
    mount(&node, &["-t", "tmpfs", "tmpfs"]);
    plexus.daemon.restart();
    let [losing, gaining] = [
        attach(&plexus, "losing", "a"),
        attach(&plexus, "gaining", ""),
    ];
    plexus.daemon.kill();
    mount(&node, &["-o", "remount,ro"]);
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("mount it writable");
    annotate(&plexus, "losing", "");
    annotate(&plexus, "gaining", "b");
    wait_event(&plexus, "losing", "DetachFailed", "plexusd retries");
    wait_event(&plexus, "gaining", "AttachFailed", "plexusd retries");
    assert_eq!(calls(&losing, &plexus), ["ADD main eth0", "ADD a net1"]);
    assert_eq!(calls(&gaining, &plexus), ["ADD main eth0"]);
    plexus.daemon.kill();
    mount(&node, &["-o", "remount,rw"]);
    plexus.daemon.restart();
    wait_settled(&plexus, "losing", &losing, &["eth0"]);
    wait_settled(&plexus, "gaining", &gaining, &["eth0", "net1"]);
}

#[test]
fn a_record_with_lines_of_a_newer_version_is_not_changed_and_the_pod_has_an_event() {
    let (node, cluster) = (node!(), Cluster::new());
    let mut plexus = start_with(&node, &cluster, json!({}), &["a"]);
    let pod = attach(&plexus, "web", "");
    plexus.daemon.kill();
    let path = record_path(&pod.target);
    let record = node.read(&path);
    node.write(&path, format!("{record}{{\"future\":{{}}}}\n"));
    plexus.daemon.restart();
    annotate(&plexus, "web", "a");
    wait_event(
        &plexus,
        "web",
        "AttachFailed",
        "cannot be read by this plexusd",
    );
    assert_eq!(calls(&pod, &plexus), ["ADD main eth0"]);
    assert!(node.read(&path).contains("future"));
    plexus.runtime.del(&pod.target).expect_success();
}
