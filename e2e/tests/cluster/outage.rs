//! The API server is unavailable.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use plexus_apiserver::{Effect, Fault};
use plexus_e2e::plexus_in_cluster::{DEFINITIONS, SNAPSHOT, USER};
use plexus_e2e::{Cluster, PlexusInCluster, Pod, node, server};
use serde_json::json;

#[test]
fn pods_start_and_stop_while_the_api_server_is_unavailable() {
    plexus_api::rows!("P-106");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    let before = plexus.pod(&Pod::new("before").with_networks("a"));
    let sandbox = node.sandbox("before");
    let target = sandbox.target(&before);
    plexus.plain_runtime.add(&target).result();
    plexus.wait_snapshot("a");
    for outage in ["stopped", "partitioned"] {
        if outage == "stopped" {
            plexus.stop_server();
        } else {
            server.partition();
        }
        // First the daemon that has read the API server, then one that has only the snapshot.
        for started in ["before", "after"] {
            let case = format!("{outage}, daemon started {started} the outage");
            let during = plexus.unknown_pod(Pod::new("during").with_networks("a"));
            let (output, calls) = plexus.add(&plexus.runtime, &during);
            assert!(output.ok(), "{case}: {output:?}");
            assert_eq!(calls, ["ADD main eth0", "ADD a net1"], "{case}");
            assert_eq!(plexus.daemon.status_of("/readyz"), 200, "{case}");
            assert!(plexus.plain_runtime.status().ok(), "{case}");
            plexus.daemon.restart();
        }
        server.resume();
    }
    server.stop();
    plexus.plain_runtime.del(&target).expect_success();
}

#[test]
fn a_snapshot_is_used_until_the_first_list_succeeds() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"lookupWait": "100ms"});
    let mut plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    plexus.define("kept");
    plexus.define("deleted");
    plexus.wait_snapshot("deleted");
    let metadata = node.run(|| fs::metadata(SNAPSHOT)).expect("the snapshot");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    plexus.daemon.stop();
    assert!(server.delete(
        "network-attachment-definitions.k8s.cni.cncf.io",
        plexus.namespace.name(),
        "deleted"
    ));
    let failing = server.fault(Fault::new("list", DEFINITIONS, Effect::Error(500)).of_user(USER));
    plexus.daemon.restart();
    let add = |pod: &str, networks: &str| {
        let pod = plexus.unknown_pod(Pod::new(pod).with_networks(networks));
        plexus.add(&plexus.runtime, &pod).0
    };
    add("early", "kept,deleted").result();
    server.clear_fault(failing);
    plexus.wait_watches();
    add("kept", "kept").result();
    add("late", "deleted").expect_code(104);
}

#[test]
fn a_snapshot_that_is_too_old_is_not_used() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"lookupWait": "3s", "snapshotMaxAge": "1ms"});
    let mut plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    plexus.define("a");
    plexus.wait_snapshot("a");
    plexus.daemon.stop();
    server.stop();
    plexus.daemon.launch();
    // lookupWait is longer than the time after which a snapshot would be used.
    let pod = plexus.unknown_pod(Pod::new("p").with_networks("a"));
    plexus.add(&plexus.runtime, &pod).0.expect_code(11);
    assert_eq!(plexus.daemon.status_of("/readyz"), 500);
    assert!(plexus.daemon.log().contains("snapshotMaxAge"));
    server.resume();
    plexus.wait_watches();
    let pod = plexus.unknown_pod(Pod::new("q").with_networks("a"));
    plexus.add(&plexus.runtime, &pod).0.result();
}

#[test]
fn a_daemon_whose_rights_are_missing_serves_del_and_names_the_right() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = PlexusInCluster::start_with(&node, &cluster, json!({"lookupWait": "10ms"}));
    plexus.define("a");
    let pod = plexus.pod(&Pod::new("p").with_networks("a"));
    let target = plexus.target(&pod);
    plexus.plain_runtime.add(&target).result();
    plexus.wait_snapshot("a");
    plexus.daemon.stop();
    let forbidden = server.fault(Fault::new("list", "*", Effect::Error(403)).of_user(USER));

    // With the snapshot, the daemon is ready. The log says why the snapshot is used.
    plexus.daemon.restart();
    plexus.daemon.wait_log(
        "definitions come from the snapshot: plexusd may not list and watch \
         network-attachment-definitions: 403",
    );
    plexus.daemon.stop();
    node.run(|| fs::remove_file(SNAPSHOT))
        .expect("remove the snapshot");
    plexus.daemon.launch();
    plexus
        .daemon
        .wait_not_ready("plexusd may not list and watch pods: 403");
    plexus.plain_runtime.del(&target).expect_success();
    server.clear_fault(forbidden);
    plexus.daemon.wait_ready();
}
