//! A daemon that has not read its cluster yet.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault};
use plexus_e2e::plexus_in_cluster::{DEFINITIONS, USER};
use plexus_e2e::{Cluster, PlexusInCluster, Pod, node, server};
use serde_json::json;

#[test]
fn a_daemon_without_a_cache_does_not_replace_one_that_has_a_cache() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    // The snapshot of the old daemon is too old for the new one.
    let keys = json!({"snapshotMaxAge": "1ms"});
    let mut plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    plexus.define("a");
    let before = plexus.pod(&Pod::new("before").with_networks("a"));
    plexus.add(&plexus.plain_runtime, &before).0.result();
    plexus.stop_server();
    let mut new = plexus.new_daemon();
    new.launch();
    new.wait_log("a running plexusd keeps serving");
    plexus.plain_runtime.status().expect_success();
    let during = plexus.unknown_pod(Pod::new("during").with_networks("a"));
    plexus.add(&plexus.runtime, &during).0.result();
    let log = plexus.daemon.log();
    assert!(!log.contains("another plexusd"), "{log}");
    server.resume();
    plexus
        .daemon
        .wait_log("another plexusd serves; this one stands by");
    plexus.daemon.stop();
    let after = plexus.pod(&Pod::new("after").with_networks("a"));
    plexus.add(&plexus.plain_runtime, &after).0.result();
    new.stop();
}

#[test]
fn a_daemon_without_a_cache_serves_at_once_if_no_other_daemon_is_running() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"snapshotMaxAge": "1ms", "lookupWait": "10ms"});
    let mut plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    let pod = plexus.pod(&Pod::new("web"));
    plexus.add(&plexus.runtime, &pod).0.result();
    plexus.daemon.kill();
    plexus.stop_server();
    let patient = plexus.runtime_with(json!({"daemonWaitDel": "60s"}));
    plexus.daemon.launch();
    // DEL needs no API server.
    plexus.del(&patient, &pod).0.expect_success();
    server.resume();
}

#[test]
fn status_waits_until_the_daemon_has_read_the_cluster() {
    rows!("P-105");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"snapshotMaxAge": "1ms"});
    let mut plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    plexus.daemon.stop();
    let failing = server.fault(Fault::new("list", DEFINITIONS, Effect::Error(500)).of_user(USER));
    plexus.daemon.launch();
    let (sender, output) = mpsc::channel();
    thread::scope(|scope| {
        let runtime = &plexus.plain_runtime;
        scope.spawn(move || sender.send(runtime.status()).expect("send the output"));
        output
            .recv_timeout(Duration::from_secs(1))
            .expect_err("STATUS must wait");
        server.clear_fault(failing);
        output.recv().expect("the output").expect_success();
    });
}
