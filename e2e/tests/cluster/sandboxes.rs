//! The sandboxes of one pod: the newest one's network-status counts, whatever comes first.

use std::fs;

use plexus_e2e::{Cluster, Pod, Script, Step, Target, node};
use serde_json::{Value, json};

use crate::bench::{Bench, MAIN};
use crate::server;
use crate::status::{LEDGER, default_with, patches, status, wait_patch, wait_recorded};

#[test]
fn of_two_sandboxes_of_a_pod_the_newest_counts() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    let pod = bench.pod(&Pod::new("p"));
    bench.stop_server();
    for address in ["10.1.0.1/24", "10.1.0.2/24"] {
        default_with(&bench, address, "");
        bench.add(&bench.containerd, &pod).0.result();
    }
    server.resume();
    wait_patch(server, &pod, 200);
    wait_recorded(&bench, 2);
    assert_eq!(
        status(&bench, &pod).expect("a status")[0]["ips"],
        json!(["10.1.0.2"])
    );
    assert_eq!(patches(&bench, &pod).len(), 1);
}

#[test]
fn the_newest_counts_whatever_the_clock_did_in_between() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = Bench::start(&node, &cluster);
    bench.define("any");
    bench.wait_snapshot("any");
    let pod = bench.pod(&Pod::new("p"));
    let sandboxes = ["older", "newer"].map(|name| node.sandbox(name));
    bench.stop_server();
    for (sandbox, address) in sandboxes.iter().zip(["10.1.0.1/24", "10.1.0.2/24"]) {
        default_with(&bench, address, "");
        bench
            .containerd
            .add(&Target::new(sandbox, "eth0", &pod))
            .result();
    }
    bench.daemon.kill9();
    // given that both are still to be written, and a clock that was ahead until after the first ADD
    let record = format!("{LEDGER}/{}:eth0.jsonl", sandboxes[0].id());
    node.run(|| {
        let text = fs::read_to_string(&record).expect("a record");
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| !line.contains("statusWritten"));
        let mut plan: Value = serde_json::from_str(&lines[0]).expect("a plan");
        plan["planned"]["createdUnixMs"] = json!(u64::MAX);
        lines[0] = plan.to_string();
        fs::write(&record, lines.join("\n") + "\n").expect("it can be written");
    });
    bench.daemon.launch();
    server.resume();
    wait_patch(server, &pod, 200);
    wait_recorded(&bench, 2);
    assert_eq!(
        status(&bench, &pod).expect("a status")[0]["ips"],
        json!(["10.1.0.2"])
    );
    assert_eq!(patches(&bench, &pod).len(), 1);
}

#[test]
fn an_add_that_ends_late_leaves_the_status_of_a_newer_sandbox() {
    let (node, cluster) = (node!(), Cluster::new());
    server!(cluster);
    let bench = Bench::start(&node, &cluster);
    let pod = bench.pod(&Pod::new("p"));
    let gate = node.gate("late");
    node.plugin(
        MAIN,
        &Script::new().on("ADD", [gate.step(), Step::result("10.1.0.1/24", "")]),
    );
    let older = node.sandbox("older");
    let running = bench
        .containerd
        .start("ADD", &Target::new(&older, "eth0", &pod));
    let held = gate.wait();
    default_with(&bench, "10.1.0.2/24", "");
    bench.add(&bench.containerd, &pod).0.result();
    held.release();
    running.wait().result();
    wait_recorded(&bench, 2);
    assert_eq!(
        status(&bench, &pod).expect("a status")[0]["ips"],
        json!(["10.1.0.2"])
    );
    assert_eq!(patches(&bench, &pod).len(), 1);
}

#[test]
fn of_two_interfaces_of_the_runtime_the_last_one_counts() {
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::start(&node, &cluster);
    bench.define("a");
    let (plain, selects) = (
        bench.pod(&Pod::new("plain")),
        bench.pod(&Pod::new("selects").with_networks("a")),
    );
    let sandboxes = ["plain", "selects"].map(|name| node.sandbox(name));
    for ifname in ["eth0", "eth1"] {
        bench
            .containerd
            .add(&Target::new(&sandboxes[0], ifname, &plain))
            .result();
        let shown = status(&bench, &plain).expect("a status");
        assert_eq!(
            (shown.as_array().map(Vec::len), &shown[0]["interface"]),
            (Some(1), &json!(ifname))
        );
    }
    bench
        .containerd
        .add(&Target::new(&sandboxes[1], "eth0", &selects))
        .result();
    let answer = bench
        .containerd
        .add(&Target::new(&sandboxes[1], "eth1", &selects));
    let msg = answer.expect_code(103);
    assert!(
        msg.contains("\"net1\": the name is taken by a link in the sandbox"),
        "{msg}"
    );
}
