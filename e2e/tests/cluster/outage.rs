//! While the API server is away.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use plexus_apiserver::{Effect, Fault};
use plexus_e2e::{Cluster, Pod, Target, node};
use serde_json::json;

use crate::bench::{Bench, DEFINITIONS, SNAPSHOT, USER};
use crate::server;

#[test]
fn pods_start_and_stop_while_the_api_server_is_away() {
    plexus_api::rows!("P-106");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = Bench::start(&node, &cluster);
    bench.define("a");
    let before = bench.pod(&Pod::new("before").with_networks("a"));
    let sandbox = node.sandbox("before");
    let target = Target::new(&sandbox, "eth0", &before);
    bench.older.add(&target).result();
    bench.wait_snapshot("a");
    for away in ["stopped", "partitioned"] {
        if away == "stopped" {
            bench.stop_server();
        } else {
            server.partition();
        }
        // The first time with the daemon that knew it, then with one that has never seen it.
        for started in ["before", "after"] {
            let what = format!("{away}, daemon started {started}");
            let (answer, calls) = bench.add(
                &bench.containerd,
                &bench.unknown_pod(Pod::new("during").with_networks("a")),
            );
            assert!(answer.ok(), "{what}: {answer:?}");
            assert_eq!(calls, ["ADD main eth0", "ADD a net1"], "{what}");
            assert_eq!(
                bench.daemon.get("/readyz").expect("an answer").status,
                200,
                "{what}"
            );
            assert!(bench.older.status().ok(), "{what}");
            bench.daemon.restart();
        }
        server.resume();
    }
    server.stop();
    bench.older.del(&target).expect_silence();
}

#[test]
fn a_snapshot_serves_until_the_first_list() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = Bench::configured(&node, &cluster, &json!({"lookupWait": "100ms"}));
    bench.define("kept");
    bench.define("gone");
    bench.wait_snapshot("gone");
    let mode = node.run(|| {
        fs::metadata(SNAPSHOT)
            .expect("it is there")
            .permissions()
            .mode()
    });
    assert_eq!(mode & 0o777, 0o600);
    bench.daemon.stop();
    assert!(server.delete(
        "network-attachment-definitions.k8s.cni.cncf.io",
        bench.namespace.name(),
        "gone"
    ));
    let slow = server.fault(Fault::new("list", DEFINITIONS, Effect::Error(500)).of_user(USER));
    bench.daemon.restart();
    bench
        .add(
            &bench.containerd,
            &bench.unknown_pod(Pod::new("early").with_networks("kept,gone")),
        )
        .0
        .result();
    server.clear_fault(slow);
    bench.wait_watches();
    bench
        .add(
            &bench.containerd,
            &bench.unknown_pod(Pod::new("kept").with_networks("kept")),
        )
        .0
        .result();
    bench
        .add(
            &bench.containerd,
            &bench.unknown_pod(Pod::new("late").with_networks("gone")),
        )
        .0
        .expect_code(104);
}

#[test]
fn a_snapshot_may_be_too_old() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = Bench::configured(
        &node,
        &cluster,
        &json!({"lookupWait": "3s", "snapshotMaxAge": "1ms"}),
    );
    bench.define("a");
    bench.wait_snapshot("a");
    bench.daemon.stop();
    server.stop();
    bench.daemon.launch();
    // It waits for longer than the API server has before a snapshot is used.
    let (answer, _) = bench.add(
        &bench.containerd,
        &bench.unknown_pod(Pod::new("p").with_networks("a")),
    );
    answer.expect_code(11);
    assert_eq!(bench.daemon.get("/readyz").expect("an answer").status, 500);
    assert!(bench.daemon.log().contains("snapshotMaxAge"));
    server.resume();
    bench.wait_watches();
    let (answer, _) = bench.add(
        &bench.containerd,
        &bench.unknown_pod(Pod::new("q").with_networks("a")),
    );
    answer.result();
}
