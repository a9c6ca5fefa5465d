//! What a call needs and the watches have not brought, and whose pod it is.

use plexus_api::rows;
use plexus_e2e::apiserver::{Effect, Fault};
use plexus_e2e::{Pod, Target, node};
use serde_json::json;

use crate::bench::{Bench, DEFINITIONS, PATIENCE};

const SOURCE: &str = "kubernetes.io/config.source";

#[test]
fn what_comes_during_add_is_waited_for() {
    let node = node!();
    let bench = Bench::start(&node);
    bench.wait_watches();
    let before = bench.reads();
    // The runtime is quicker than the watch: both objects come while ADD runs.
    let stalled = bench.server.fault(Fault::new("watch", "*", Effect::Stall));
    let pod = bench.pod(Pod::new("p").with_networks("late"));
    let sandbox = node.sandbox("p");
    let running = bench.older.start("ADD", &Target::new(&sandbox, "eth0", &pod));
    bench.define("late");
    bench.server.clear(stalled);
    running.wait().result();
    let calls: Vec<_> = node.calls().iter().map(plexus_e2e::Call::summary).collect();
    assert_eq!(calls, ["ADD main eth0", "ADD late net1"]);
    assert_eq!(bench.reads(), before, "ADD reads nothing");
}

#[test]
fn what_does_not_come_is_asked_for_once() {
    let node = node!();
    let bench = Bench::configured(&node, &json!({"lookupWait": "100ms"}));
    bench.wait_watches();
    bench.server.fault(Fault::new("watch", "*", Effect::Stall));
    bench.define("late");
    let pod = bench.pod(Pod::new("p").with_networks("late"));
    let (answer, calls) = bench.add(&bench.older, &pod);
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD late net1"]);
    assert_eq!(bench.server.count("get", "pods"), 1);
    assert_eq!(bench.server.count("get", DEFINITIONS), 1);
}

#[test]
fn what_is_not_there_is_told_from_what_cannot_be_known() {
    rows!("P-042");
    let node = node!();
    let bench = Bench::configured(&node, &json!({"lookupWait": "100ms"}));
    let unknown_pod = Pod::new("nobody");
    let (answer, calls) = bench.add(&bench.older, &unknown_pod);
    assert!(answer.expect_code(11).contains("default/nobody"), "{answer:?}");
    assert!(calls.is_empty(), "{calls:?}");
    let with = Pod::new("p").with_networks("nothing");
    let (answer, calls) = bench.add(&bench.containerd, &with);
    assert!(answer.expect_code(104).contains("default/nothing"), "{answer:?}");
    assert!(calls.is_empty(), "{calls:?}");
    for effect in [Effect::Error(503), Effect::TooManyRequests(30), Effect::Error(500), Effect::Disconnect] {
        let fault = bench.server.fault(Fault::new("get", "*", effect.clone()));
        bench.add(&bench.older, &unknown_pod).0.expect_code(11);
        bench.add(&bench.containerd, &with).0.expect_code(11);
        bench.server.clear(fault);
    }
    bench.server.partition();
    let (answer, _) = bench.add(&bench.containerd, &with);
    assert!(answer.expect_code(11).contains("API server"), "{answer:?}");
}

#[test]
fn a_pod_of_another_uid_is_another_pod() {
    rows!("P-019");
    let node = node!();
    let bench = Bench::configured(&node, &json!({"lookupWait": "100ms"}));
    bench.define("a");
    let current = bench.pod(Pod::new("web-0").with_networks("a"));
    let former = Pod { uid: "former".into(), ..current.clone() };
    let (answer, calls) = bench.add(&bench.older, &former);
    let msg = answer.expect_code(11);
    assert!(msg.contains("former") && msg.contains(&current.uid), "{msg}");
    assert!(calls.is_empty(), "{calls:?}");
    let (answer, calls) = bench.del(&bench.older, &former);
    answer.expect_silence();
    assert_eq!(calls, ["DEL main eth0"], "the networks of the pod that is there now are not its own");
    let (answer, calls) = bench.del(&bench.older, &current);
    answer.expect_silence();
    assert_eq!(calls, ["DEL a net1", "DEL main eth0"]);
    // A runtime that does not say the UID.
    bench.add(&bench.older, &Pod { uid: String::new(), ..current.clone() }).0.result();
    // What came with the call is the pod's own, whatever the cluster has.
    let (answer, calls) = bench.add(&bench.containerd, &former);
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD a net1"]);
}

#[test]
fn a_pod_that_is_made_anew_is_waited_for() {
    rows!("P-019");
    let node = node!();
    let bench = Bench::start(&node);
    for name in ["old", "new"] {
        bench.define(name);
    }
    let old = bench.pod(Pod::new("web-0").with_networks("old"));
    bench.add(&bench.older, &old).0.result();
    let before = bench.reads();
    let stalled = bench.server.fault(Fault::new("watch", "pods", Effect::Stall));
    bench.delete_pod(&old);
    let new = bench.pod(Pod::new("web-0").with_networks("new"));
    let sandbox = node.sandbox("anew");
    node.forget_calls();
    let running = bench.older.start("ADD", &Target::new(&sandbox, "eth0", &new));
    bench.server.clear(stalled);
    running.wait().result();
    let calls: Vec<_> = node.calls().iter().map(plexus_e2e::Call::summary).collect();
    assert_eq!(calls, ["ADD main eth0", "ADD new net1"]);
    assert_eq!(bench.reads(), before, "the watch brought it");
}

#[test]
fn the_mirror_of_a_static_pod_has_another_uid() {
    rows!("P-019");
    let node = node!();
    let bench = Bench::configured(&node, &json!({"lookupWait": "100ms"}));
    bench.define("a");
    for (source, is_static) in [("file", true), ("http", true), ("api", false)] {
        let mirror = bench.pod(Pod::new(source).with_networks("a").annotated(SOURCE, source));
        let runtimes_own = Pod { uid: "0123456789abcdef".into(), ..mirror };
        let (answer, calls) = bench.add(&bench.older, &runtimes_own);
        if is_static {
            answer.result();
            assert_eq!(calls, ["ADD main eth0", "ADD a net1"], "{source}");
            let (answer, calls) = bench.del(&bench.older, &runtimes_own);
            answer.expect_silence();
            assert_eq!(calls, ["DEL a net1", "DEL main eth0"], "{source}");
        } else {
            answer.expect_code(11);
        }
    }
}

#[test]
fn del_and_check_ask_nobody() {
    rows!("P-018");
    let node = node!();
    let bench = Bench::start(&node);
    bench.define("a");
    let pod = bench.pod(Pod::new("p").with_networks("a"));
    let sandbox = node.sandbox("p");
    let target = Target::new(&sandbox, "eth0", &pod);
    bench.older.add(&target).result();
    let before = bench.reads();
    bench.delete_pod(&pod);
    bench.server.wait(PATIENCE, |_| true);
    let anonymous = Target { pod: None, ..target };
    bench.older.check(&anonymous).expect_silence();
    bench.older.del(&anonymous).expect_silence();
    // Never seen: what is known is enough.
    bench.del(&bench.older, &Pod::new("never")).0.expect_silence();
    assert_eq!(bench.reads(), before);
    bench.older.add(&Target::new(&node.sandbox("q"), "eth0", &Pod::new("q")).with_arg("X", "1")).expect_code(11);
}
