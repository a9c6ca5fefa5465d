//! A daemon that starts knows nothing of its cluster yet.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault};
use plexus_e2e::{Cluster, Daemon, Pod, node};
use serde_json::json;

use crate::bench::{Bench, DEFINITIONS, USER};
use crate::server;

#[test]
fn it_does_not_relieve_one_that_knows_more() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    // Not even what the other knew.
    let mut bench = Bench::configured(&node, &cluster, &json!({"snapshotMaxAge": "1ms"}));
    bench.define("a");
    bench
        .add(
            &bench.older,
            &bench.pod(&Pod::new("before").with_networks("a")),
        )
        .0
        .result();
    bench.stop_server();
    let mut new = Daemon::of_cluster(&node, &bench.config, &bench.kubeconfig, &bench.name);
    new.launch();
    new.wait_log("a running plexusd keeps serving");
    bench.older.status().expect_silence();
    bench
        .add(
            &bench.containerd,
            &bench.unknown_pod(Pod::new("during").with_networks("a")),
        )
        .0
        .result();
    assert!(
        !bench.daemon.log().contains("another plexusd"),
        "{}",
        bench.daemon.log()
    );
    server.resume();
    bench
        .daemon
        .wait_log("another plexusd serves; this one stands by");
    bench.daemon.stop();
    bench
        .add(
            &bench.older,
            &bench.pod(&Pod::new("after").with_networks("a")),
        )
        .0
        .result();
    new.stop();
}

#[test]
fn it_serves_at_once_where_there_is_no_other() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = Bench::configured(
        &node,
        &cluster,
        &json!({"snapshotMaxAge": "1ms", "lookupWait": "10ms"}),
    );
    let pod = bench.pod(&Pod::new("web"));
    bench.add(&bench.containerd, &pod).0.result();
    bench.daemon.kill9();
    bench.stop_server();
    bench.daemon.launch();
    // What needs no API server.
    bench.del(&bench.containerd, &pod).0.expect_silence();
    server.resume();
}

#[test]
fn its_status_waits_until_it_knows_the_cluster() {
    rows!("P-105");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = Bench::configured(&node, &cluster, &json!({"snapshotMaxAge": "1ms"}));
    bench.daemon.stop();
    let slow = server.fault(Fault::new("list", DEFINITIONS, Effect::Error(500)).of_user(USER));
    bench.daemon.launch();
    let (sender, answer) = mpsc::channel();
    thread::scope(|scope| {
        let runtime = &bench.older;
        scope.spawn(move || {
            sender
                .send(runtime.status())
                .expect("the test waits for it");
        });
        // That nothing comes is what the time is for.
        answer
            .recv_timeout(Duration::from_secs(1))
            .expect_err("it cannot know yet");
        server.clear_fault(slow);
        answer.recv().expect("an answer").expect_silence();
    });
}
