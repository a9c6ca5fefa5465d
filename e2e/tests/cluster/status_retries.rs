//! Writes of network-status that fail or are slow.

use std::time::Duration;

use plexus_api::rows;
use plexus_apiserver::Effect;
use plexus_e2e::plexus_in_cluster::{TIMEOUT, USER};
use plexus_e2e::{Cluster, Node, PlexusInCluster, Pod, metric, node, server};
use serde_json::json;

use crate::status::{
    define_large, fault, is_patch, patches, status, timed, wait_patch, wait_recorded,
};
use crate::{message, rules};

#[test]
fn a_conflict_is_retried_at_once() {
    rows!("K-092");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    server.fault(fault(Effect::Error(409)).times(2));
    let pod = plexus.pod(&Pod::new("p"));
    plexus.add(&plexus.runtime, &pod).0.result();
    assert!(
        status(&plexus, &pod).is_some(),
        "the status is written before ADD returns"
    );
    assert_eq!(patches(&plexus, &pod).len(), 3);
}

#[test]
fn a_failed_write_is_retried_until_it_succeeds() {
    rows!("K-092");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    let effects = [
        Effect::Error(500),
        Effect::Error(403),
        Effect::TooManyRequests(1),
        Effect::Disconnect,
        Effect::LoseResponse,
    ];
    for (index, effect) in effects.into_iter().enumerate() {
        server.fault(fault(effect).times(2));
        let pod = plexus.pod(&Pod::new(&format!("p{index}")));
        plexus.add(&plexus.runtime, &pod).0.result();
        wait_patch(server, &pod, 200);
        wait_recorded(&plexus, index + 1);
        assert_eq!(patches(&plexus, &pod).len(), 3, "{index}");
        assert!(status(&plexus, &pod).is_some());
    }
}

#[test]
fn add_waits_for_its_write_but_not_while_an_earlier_write_is_pending() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let wait = Duration::from_secs(4);
    let keys = json!({"statusWait": "4s"});
    let plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    let pods = ["p0", "p1", "p2"].map(|name| plexus.pod(&Pod::new(name)));
    server.partition();
    let took = pods.each_ref().map(|pod| {
        let (output, took) = timed(|| plexus.add(&plexus.runtime, pod).0);
        output.result();
        took
    });
    assert!(took[0] >= wait, "the first ADD waits: {took:?}");
    assert!(
        took[1..].iter().all(|took| *took < wait / 2),
        "the others do not: {took:?}"
    );
    server.resume();
    for pod in &pods {
        wait_patch(server, pod, 200);
        assert!(status(&plexus, pod).is_some());
    }
    wait_recorded(&plexus, 3);
}

#[test]
fn add_does_not_wait_longer_than_status_wait() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"statusWait": "100ms"});
    let plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    let slow = server.fault(fault(Effect::Delay(Duration::from_secs(8))));
    let pod = plexus.pod(&Pod::new("p"));
    let (output, took) = timed(|| plexus.add(&plexus.runtime, &pod).0);
    output.result();
    assert!(took < Duration::from_secs(5), "{took:?}");
    server.clear_fault(slow);
    wait_patch(server, &pod, 200);
    wait_recorded(&plexus, 1);
    assert_eq!(
        patches(&plexus, &pod).len(),
        1,
        "a slow write is not repeated"
    );
}

#[test]
fn statuses_are_written_when_the_api_server_is_back() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"statusWait": "10s"});
    let mut plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    // The restarted daemon serves from its snapshot.
    plexus.define("any");
    plexus.wait_snapshot("any");
    let pods = ["p0", "p1", "p2", "p3"].map(|name| plexus.pod(&Pod::new(name)));
    plexus.stop_server();
    for (index, pod) in pods.iter().enumerate() {
        let (output, took) = timed(|| plexus.add(&plexus.runtime, pod).0);
        output.result();
        assert!(
            took < Duration::from_secs(5),
            "ADD does not wait if the server refuses connections: {took:?}"
        );
        if index == 1 {
            // The next daemon finds the pending writes in the ledger.
            plexus.daemon.kill();
            plexus.daemon.restart();
        }
    }
    server.resume();
    for pod in &pods {
        wait_patch(server, pod, 200);
    }
    wait_recorded(&plexus, 4);
    for pod in &pods {
        assert!(status(&plexus, pod).is_some());
        assert_eq!(patches(&plexus, pod).len(), 1);
    }
}

#[test]
fn a_daemon_with_pending_writes_hands_over() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("any");
    plexus.wait_snapshot("any");
    let pod = plexus.pod(&Pod::new("p"));
    server.partition();
    plexus.add(&plexus.runtime, &pod).0.result();
    let mut next = plexus.new_daemon();
    next.launch();
    plexus.daemon.wait_log("this one stands by");
    let other = plexus.unknown_pod(Pod::new("other"));
    let (output, took) = timed(|| plexus.add(&plexus.runtime, &other).0);
    output.result();
    assert!(
        took < Duration::from_secs(8),
        "the old daemon releases the ledger: {took:?}"
    );
    server.resume();
    wait_patch(server, &pod, 200);
    wait_recorded(&plexus, 2);
}

#[test]
fn a_successful_write_ends_the_back_off_of_pending_writes() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    let failing = server.fault(fault(Effect::Error(500)));
    let [pod, other] = ["p", "other"].map(|name| plexus.pod(&Pod::new(name)));
    plexus.add(&plexus.runtime, &pod).0.result();
    // After this number of tries the back-off is at least two seconds.
    server.wait(TIMEOUT, |entries| {
        entries.iter().filter(|entry| is_patch(entry, &pod)).count() >= 5
    });
    server.clear_fault(failing);
    plexus.add(&plexus.runtime, &other).0.result();
    let ((), took) = timed(|| wait_patch(server, &pod, 200));
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

/// Starts Plexus with a `statusWait` that no write needs, and a pod whose writes all fail with this
/// code until an event reports the pod.
fn with_failing_pod<'n>(
    node: &'n Node,
    cluster: &'n Cluster,
    code: u16,
) -> (PlexusInCluster<'n>, Pod) {
    let keys = json!({"statusWait": "30s"});
    let plexus = PlexusInCluster::start_with(node, cluster, keys);
    let server = cluster.server().expect("the server in memory");
    server.fault(fault(Effect::Error(code)).of_name("failing"));
    let failing = plexus.pod(&Pod::new("failing"));
    plexus.add(&plexus.runtime, &failing).0.result();
    // An answer to another write shows that the API server works.
    let other = plexus.pod(&Pod::new("other"));
    plexus.add(&plexus.runtime, &other).0.result();
    wait_patch(server, &other, 200);
    let event = plexus
        .namespace
        .wait_for_event("failing", |event| event["reason"] == "NetworkStatusRefused");
    assert!(message(&event).contains(&code.to_string()), "{event}");
    (plexus, failing)
}

#[test]
fn a_write_that_fails_for_one_pod_delays_no_other_pod() {
    for code in [400, 403, 413, 500] {
        let (node, cluster) = (node!(), Cluster::new());
        let server = server!(cluster);
        let (plexus, failing) = with_failing_pod(&node, &cluster, code);
        let slow = Effect::Delay(Duration::from_millis(300));
        for name in ["a", "b"] {
            server.fault(fault(slow.clone()).of_name(name));
            let pod = plexus.pod(&Pod::new(name));
            plexus.add(&plexus.runtime, &pod).0.result();
            assert!(
                status(&plexus, &pod).is_some(),
                "{code}: ADD of {name} waits for its write"
            );
        }
        let overdue: u8 = metric(
            &plexus.daemon.metrics(),
            "plexus_network_status_write_overdue",
        );
        assert_eq!(overdue, 0, "{code}");
        assert_eq!(status(&plexus, &failing), None);
    }
}

#[test]
fn a_refused_write_is_retried_until_it_is_accepted() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let (plexus, failing) = with_failing_pod(&node, &cluster, 403);
    server.clear_faults();
    wait_patch(server, &failing, 200);
    wait_recorded(&plexus, 2);
    assert!(status(&plexus, &failing).is_some());
}

#[test]
fn a_large_status_is_complete_after_its_retries() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    let search = define_large(&plexus, 6_000);
    server.fault(fault(Effect::Error(403)).times(3));
    let pod = plexus.pod(&Pod::new("p").with_networks("large"));
    plexus.add(&plexus.runtime, &pod).0.result();
    wait_patch(server, &pod, 200);
    wait_recorded(&plexus, 1);
    assert_eq!(patches(&plexus, &pod).len(), 4);
    let status = status(&plexus, &pod).expect("a status");
    assert_eq!(status[0]["interface"], "eth0");
    assert_eq!(status[1]["dns"]["search"], json!(search));
}

#[test]
fn an_event_names_the_missing_right() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut restricted = rules("deploy/node/access.yaml");
    restricted.retain(|rule| !rule.resources.iter().any(|name| name == "pods/status"));
    let mut plexus = PlexusInCluster::build(PlexusInCluster::on(&node), &cluster);
    server.restrict(USER, restricted);
    plexus.daemon.restart();
    let pod = plexus.pod(&Pod::new("p"));
    plexus.add(&plexus.runtime, &pod).0.result();
    let event = plexus
        .namespace
        .wait_for_event("p", |event| event["reason"] == "NetworkStatusRefused");
    let message = message(&event);
    assert!(message.contains("patch pods/status"), "{message}");
    server.restrict(USER, rules("deploy/node/access.yaml"));
    wait_patch(server, &pod, 200);
}
