//! Several sandboxes of one pod: network-status shows the newest one.

use plexus_e2e::leftovers::record_path;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::{Cluster, PlexusInCluster, Pod, Script, Step, node, server};
use serde_json::{Value, json};

use crate::status::{patches, set_default_address, status, wait_patch, wait_recorded};

/// Asserts that network-status was written once, with this address.
fn assert_only_status(plexus: &PlexusInCluster<'_>, pod: &Pod, address: &str) {
    let status = status(plexus, pod).expect("a status");
    assert_eq!(status[0]["ips"], json!([address]));
    assert_eq!(patches(plexus, pod).len(), 1);
}

#[test]
fn the_status_shows_the_newest_sandbox_of_a_pod() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    let pod = plexus.pod(&Pod::new("p"));
    plexus.stop_server();
    for address in ["10.1.0.1/24", "10.1.0.2/24"] {
        set_default_address(&plexus, address, "");
        plexus.add(&plexus.runtime, &pod).0.result();
    }
    server.resume();
    wait_patch(server, &pod, 200);
    wait_recorded(&plexus, 2);
    assert_only_status(&plexus, &pod, "10.1.0.2");
}

#[test]
fn the_newest_sandbox_does_not_depend_on_the_clock() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("any");
    plexus.wait_snapshot("any");
    let pod = plexus.pod(&Pod::new("p"));
    let targets = ["older", "newer"].map(|name| node.sandbox(name).target(&pod));
    plexus.stop_server();
    for (target, address) in targets.iter().zip(["10.1.0.1/24", "10.1.0.2/24"]) {
        set_default_address(&plexus, address, "");
        plexus.runtime.add(target).result();
    }
    plexus.daemon.kill();
    // The older sandbox has the later time, as if the clock was set back between the two ADDs.
    let record = node.read(record_path(&targets[0]));
    let mut lines: Vec<_> = record.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.contains("statusWritten"));
    let mut plan: Value = serde_json::from_str(&lines[0]).expect("a plan");
    plan["planned"]["createdUnixMs"] = json!(u64::MAX);
    lines[0] = plan.to_string();
    node.write(record_path(&targets[0]), lines.join("\n") + "\n");
    plexus.daemon.launch();
    server.resume();
    wait_patch(server, &pod, 200);
    wait_recorded(&plexus, 2);
    assert_only_status(&plexus, &pod, "10.1.0.2");
}

#[test]
fn an_older_sandbox_does_not_wait_for_the_status_of_the_newest_one() {
    let (node, cluster) = (node!(), Cluster::new());
    let _server = server!(cluster);
    let plexus = PlexusInCluster::start_with(&node, &cluster, json!({"recoveryInterval": "50ms"}));
    let pod = plexus.pod(&Pod::new("p"));
    plexus.stop_server();
    let older = node.sandbox("older").target(&pod);
    plexus.runtime.add(&older).result();
    plexus
        .runtime
        .add(&node.sandbox("newer").target(&pod))
        .result();
    // The write of the newer sandbox has replaced that of the older one, and stays unfinished.
    wait_recorded(&plexus, 1);
    // The daemon was killed before it recorded that, as far as recovery can see.
    let record = node.read(record_path(&older));
    let kept: Vec<_> = record
        .lines()
        .filter(|line| !line.contains("statusWritten"))
        .collect();
    assert!(kept.len() < record.lines().count(), "{record}");
    node.write(record_path(&older), kept.join("\n") + "\n");
    wait_recorded(&plexus, 1);
}

#[test]
fn a_late_add_does_not_overwrite_the_status_of_a_newer_sandbox() {
    let (node, cluster) = (node!(), Cluster::new());
    server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    let pod = plexus.pod(&Pod::new("p"));
    let gate = node.gate("late");
    let add = [gate.step(), Step::result("10.1.0.1/24", "")];
    node.plugin(MAIN, &Script::new().on("ADD", add));
    let older = node.sandbox("older");
    let running = plexus.runtime.start("ADD", &older.target(&pod));
    let held = gate.wait();
    set_default_address(&plexus, "10.1.0.2/24", "");
    plexus.add(&plexus.runtime, &pod).0.result();
    held.release();
    running.wait().result();
    wait_recorded(&plexus, 2);
    assert_only_status(&plexus, &pod, "10.1.0.2");
}

#[test]
fn the_status_shows_the_last_interface_of_the_runtime() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    let plain = plexus.pod(&Pod::new("plain"));
    let selects = plexus.pod(&Pod::new("selects").with_networks("a"));
    let sandboxes = ["plain", "selects"].map(|name| node.sandbox(name));
    for ifname in ["eth0", "eth1"] {
        let target = sandboxes[0].interface(ifname, &plain);
        plexus.runtime.add(&target).result();
        let status = status(&plexus, &plain).expect("a status");
        assert_eq!(
            (status.as_array().map(Vec::len), &status[0]["interface"]),
            (Some(1), &json!(ifname))
        );
    }
    let target = sandboxes[1].interface("eth0", &selects);
    plexus.runtime.add(&target).result();
    let output = plexus
        .runtime
        .add(&sandboxes[1].interface("eth1", &selects));
    let msg = output.expect_code(103);
    assert!(
        msg.contains("\"net1\": the name is taken by a link in the sandbox"),
        "{msg}"
    );
}
