//! What a call needs and the watches have not brought, and whose pod it is.

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault};
use plexus_e2e::{Cluster, Pod, Target, node};
use serde_json::json;

use crate::bench::{Bench, DEFINITIONS, USER};
use crate::server;

const SOURCE: &str = "kubernetes.io/config.source";

#[test]
fn what_comes_during_add_is_waited_for() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    bench.wait_watches();
    let before = bench.reads();
    // The runtime is quicker than the watch: both objects come while ADD runs.
    let stalled = server.fault(Fault::new("watch", "*", Effect::Stall).of_user(USER));
    let pod = bench.pod(&Pod::new("p").with_networks("late"));
    let sandbox = node.sandbox("p");
    let running = bench
        .older
        .start("ADD", &Target::new(&sandbox, "eth0", &pod));
    bench.define("late");
    server.clear_fault(stalled);
    running.wait().result();
    let calls: Vec<_> = node.calls().iter().map(plexus_e2e::Call::summary).collect();
    assert_eq!(calls, ["ADD main eth0", "ADD late net1"]);
    assert_eq!(bench.reads(), before, "ADD reads nothing");
}

#[test]
fn what_does_not_come_is_asked_for_once() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::configured(&node, &cluster, &json!({"lookupWait": "100ms"}));
    bench.wait_watches();
    server.fault(Fault::new("watch", "*", Effect::Stall).of_user(USER));
    bench.define("late");
    let pod = bench.pod(&Pod::new("p").with_networks("late"));
    let (answer, calls) = bench.add(&bench.older, &pod);
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD late net1"]);
    assert_eq!(bench.count("get", "pods"), 1);
    assert_eq!(bench.count("get", DEFINITIONS), 1);
}

#[test]
fn what_is_not_there_is_told_from_what_cannot_be_known() {
    rows!("P-042");
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::configured(&node, &cluster, &json!({"lookupWait": "100ms"}));
    let nobody = bench.unknown_pod(Pod::new("nobody"));
    let (answer, calls) = bench.add(&bench.older, &nobody);
    answer.expect_error(11, &["/nobody"]);
    assert!(calls.is_empty(), "{calls:?}");
    let with = bench.unknown_pod(Pod::new("p").with_networks("nothing"));
    let (answer, calls) = bench.add(&bench.containerd, &with);
    answer.expect_error(104, &["/nothing"]);
    assert!(calls.is_empty(), "{calls:?}");
    let server = server!(cluster);
    for effect in [
        Effect::Error(503),
        Effect::TooManyRequests(30),
        Effect::Error(500),
        Effect::Disconnect,
    ] {
        let fault = server.fault(Fault::new("get", "*", effect.clone()).of_user(USER));
        bench.add(&bench.older, &nobody).0.expect_code(11);
        bench.add(&bench.containerd, &with).0.expect_code(11);
        server.clear_fault(fault);
    }
    server.partition();
    let (answer, _) = bench.add(&bench.containerd, &with);
    answer.expect_error(11, &["API server"]);
}

#[test]
fn a_pod_of_another_uid_is_another_pod() {
    rows!("P-019");
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::configured(&node, &cluster, &json!({"lookupWait": "100ms"}));
    bench.define("a");
    let current = bench.pod(&Pod::new("web-0").with_networks("a"));
    let former = Pod {
        uid: "former".into(),
        ..current.clone()
    };
    let (answer, calls) = bench.add(&bench.older, &former);
    answer.expect_error(11, &["former", &current.uid]);
    assert!(calls.is_empty(), "{calls:?}");
    let (answer, calls) = bench.del(&bench.older, &former);
    answer.expect_silence();
    assert_eq!(
        calls,
        ["DEL main eth0"],
        "the networks of the pod that is there now are not its own"
    );
    let (answer, calls) = bench.del(&bench.older, &current);
    answer.expect_silence();
    assert_eq!(calls, ["DEL a net1", "DEL main eth0"]);
    // A runtime that does not say the UID.
    bench
        .add(
            &bench.older,
            &Pod {
                uid: String::new(),
                ..current.clone()
            },
        )
        .0
        .result();
    // What came with the call is the pod's own, whatever the cluster has.
    let (answer, calls) = bench.add(&bench.containerd, &former);
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD a net1"]);
}

#[test]
fn a_pod_that_is_made_anew_is_not_taken_for_the_old_one() {
    rows!("P-019");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::configured(&node, &cluster, &json!({"lookupWait": "100ms"}));
    for name in ["old", "new"] {
        bench.define(name);
    }
    let old = bench.pod(&Pod::new("web-0").with_networks("old"));
    bench.add(&bench.older, &old).0.result();
    // The watch does not say so yet.
    server.fault(Fault::new("watch", "pods", Effect::Stall).of_user(USER));
    bench.namespace.remove_pod("web-0");
    let new = bench.pod(&Pod::new("web-0").with_networks("new"));
    let before = bench.count("get", "pods");
    let (answer, calls) = bench.add(&bench.older, &new);
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD new net1"]);
    assert_eq!(bench.count("get", "pods"), before + 1);
}

#[test]
fn the_mirror_of_a_static_pod_has_another_uid() {
    rows!("P-019");
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::configured(&node, &cluster, &json!({"lookupWait": "100ms"}));
    bench.define("a");
    for (source, is_static) in [("file", true), ("http", true), ("api", false)] {
        let mirror = bench.pod(
            &Pod::new(source)
                .with_networks("a")
                .annotated(SOURCE, source),
        );
        let runtimes_own = Pod {
            uid: "0123456789abcdef".into(),
            ..mirror
        };
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
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::start(&node, &cluster);
    bench.define("a");
    let pod = bench.pod(&Pod::new("p").with_networks("a"));
    let sandbox = node.sandbox("p");
    let target = Target::new(&sandbox, "eth0", &pod);
    bench.older.add(&target).result();
    let before = bench.reads();
    bench.namespace.remove_pod("p");
    let anonymous = Target {
        pod: None,
        ..target
    };
    bench.older.check(&anonymous).expect_silence();
    bench.older.del(&anonymous).expect_silence();
    // Never seen: what is known is enough.
    bench
        .del(&bench.older, &bench.unknown_pod(Pod::new("never")))
        .0
        .expect_silence();
    assert_eq!(bench.reads(), before);
}
