//! Many changes at the same time, and other calls of the runtime meanwhile.

use plexus_api::rows;
use plexus_e2e::{Cluster, Pod, Step, attaches, node};
use serde_json::json;

use super::{Attached, annotate, attach, calls, start_with, wait_settled};

const PODS: usize = 250;

#[test]
fn all_pods_of_a_full_node_change_at_once_while_another_pod_starts() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({"logLevel": "info"}), &["a", "b"]);
    let names: Vec<_> = (0..PODS).map(|number| format!("p{number}")).collect();
    let mut pods: Vec<Attached<'_>> = Vec::new();
    for names in names.chunks(25) {
        let adding: Vec<_> = names
            .iter()
            .map(|name| {
                let pod = plexus.pod(&Pod::new(name));
                let sandbox = node.sandbox(name);
                let target = sandbox.target(&pod);
                let running = plexus.runtime.start("ADD", &target);
                (Attached { sandbox, target }, running)
            })
            .collect();
        for (pod, running) in adding {
            let output = running.wait();
            assert!(output.ok(), "{output:?}");
            pods.push(pod);
        }
    }
    let before = peak_memory(plexus.daemon.pid());
    let gate = node.gate("a");
    node.plugin("a", &attaches().on("ADD", [gate.step(), Step::link()]));
    annotate(&plexus, &names[0], "a");
    // The plugin of the first change has not ended when the others ask.
    let held = gate.wait();
    node.plugin("a", &attaches());
    for name in &names[1..] {
        annotate(&plexus, name, "a");
    }
    let other = attach(&plexus, "other", "b");
    assert_eq!(calls(&other, &plexus), ["ADD main eth0", "ADD b net1"]);
    held.release();
    for (name, pod) in names.iter().zip(&pods) {
        wait_settled(&plexus, name, pod, &["eth0", "net1"]);
    }
    let grown = peak_memory(plexus.daemon.pid()).saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB");
}

/// The largest resident set of a process so far, in KiB.
fn peak_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

#[test]
fn check_and_gc_during_a_change_leave_it_alone() {
    rows!("P-110");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({"checkPlugins": "all"}), &["a"]);
    node.plugin("b", &attaches());
    let config = json!({"cniVersion": "1.1.0", "type": "b"});
    plexus.namespace.definition("b", &config);
    let pod = attach(&plexus, "web", "a");
    let gate = node.gate("b");
    node.plugin("b", &attaches().on("ADD", [gate.step(), Step::link()]));
    annotate(&plexus, "web", "a,b");
    let held = gate.wait();
    let check = plexus.runtime.start("CHECK", &pod.target);
    plexus.daemon.wait_log("waiting for the lock of container");
    held.release();
    check.wait().expect_success();
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net2"]);
    let valid = [(pod.target.container.as_str(), "eth0")];
    plexus.runtime.gc(&valid).expect_success();
    let gc = plexus
        .calls_of("GC")
        .into_iter()
        .find(|call| call.plugin == "b");
    let config = gc.expect("GC of the network").config();
    let list = config["cni.dev/valid-attachments"]
        .as_array()
        .expect("a list");
    let expected = json!({"containerID": pod.target.container, "ifname": "net2"});
    assert!(list.contains(&expected), "{list:?}");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net2"]);
    plexus.runtime.check(&pod.target).expect_success();
    // GC deletes a sandbox that is gone with all its networks.
    plexus.runtime.gc(&[]).expect_success();
    plexus.wait_records(&[]);
    assert_eq!(pod.sandbox.link_names(), ["lo"]);
}
