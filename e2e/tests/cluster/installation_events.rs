//! Problems of the installation emit events about the node and are counted in metrics.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_apiserver::{ApiServer, StreamItem};
use plexus_e2e::plexus::{NET_D, PUBLISHED};
use plexus_e2e::plexus_in_cluster::{TIMEOUT, USER};
use plexus_e2e::{Cluster, Node, NodeWatch, PlexusInCluster, Pod, metric, node, server};
use serde_json::{Value, json};

use crate::{message, rules};

const NOT_FIRST: &str = r#"plexus_installation_problems{problem="config_not_first"}"#;
const CONFLICT: &str = r#"plexus_installation_problems{problem="config_conflict"}"#;
const RESTORATIONS: &str = "plexus_config_restorations_total";

/// Starts a daemon that publishes its configuration and has only the rights of `deploy/node`.
fn start<'n>(node: &'n Node, cluster: &'n Cluster, server: &ApiServer) -> PlexusInCluster<'n> {
    server.restrict(USER, rules("deploy/node/access.yaml"));
    let builder = PlexusInCluster::on(node)
        .installed()
        .config(json!({"metricsAddress": ""}));
    let mut plexus = PlexusInCluster::build(builder, cluster);
    plexus.daemon.restart();
    plexus
}

fn in_net_d(name: &str) -> PathBuf {
    Path::new(NET_D).join(name)
}

/// Waits for an event about the node with this reason and count, with the selector of
/// `kubectl describe node`.
fn wait_event(plexus: &PlexusInCluster<'_>, reason: &str, count: u64) -> Value {
    let name = &plexus.node_name;
    // kubelet uses the node's name as the UID in its events.
    let [about, kind, uid] =
        ["name", "kind", "uid"].map(|field| format!("involvedObject.{field}%3D"));
    let path =
        format!("/api/v1/events?watch=true&fieldSelector={about}{name},{kind}Node,{uid}{name}");
    let client = plexus.cluster.client();
    let mut events = client.stream(&path, &[]).expect("a response");
    let end = Instant::now() + TIMEOUT;
    loop {
        match events.next(end.saturating_duration_since(Instant::now())) {
            StreamItem::Document(event)
                if event["object"]["reason"] == reason && event["object"]["count"] == count =>
            {
                return event["object"].clone();
            }
            StreamItem::Document(_) => {}
            other => panic!(
                "no {reason} with the count {count}, but {other:?}\n{}",
                plexus.daemon.log()
            ),
        }
    }
}

fn value(plexus: &PlexusInCluster<'_>, series: &str) -> u64 {
    metric(&plexus.daemon.metrics(), series)
}

/// Renames the published file this many times, each time it is restored.
fn rename_published(node: &Node, times: usize) {
    let watch = NodeWatch::new(node, &[NET_D]);
    let backup = in_net_d("00-plexus.conflist.cilium_bak");
    for _ in 0..times {
        watch.wait_while(|| node.run(|| fs::rename(PUBLISHED, &backup)).err());
    }
    watch.wait_while(|| (!node.exists(PUBLISHED)).then_some("not restored"));
}

fn remove(node: &Node, name: &str) {
    node.run(|| fs::remove_file(in_net_d(name)))
        .expect("remove the file");
}

#[test]
fn a_file_that_sorts_first_emits_an_event_until_it_is_removed() {
    rows!("C-14");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = start(&node, &cluster, server);
    assert_eq!(
        (value(&plexus, NOT_FIRST), value(&plexus, RESTORATIONS)),
        (0, 0)
    );
    for count in 1..=2 {
        node.write(in_net_d("00-aaa.conflist"), "{}");
        let event = wait_event(&plexus, "CNIConfigNotFirst", count);
        assert_eq!(
            (&event["type"], &event["metadata"]["namespace"]),
            (&json!("Warning"), &json!("default"))
        );
        assert_eq!(
            event["source"],
            json!({"component": "plexus", "host": plexus.node_name})
        );
        for part in [
            "00-aaa.conflist",
            "00-plexus.conflist",
            "remove or rename it",
        ] {
            assert!(message(&event).contains(part), "{event}");
        }
        assert_eq!(value(&plexus, NOT_FIRST), 1);
        assert_eq!(plexus.daemon.status_of("/readyz"), 500);
        remove(&node, "00-aaa.conflist");
        plexus.daemon.wait_ready();
        assert_eq!(value(&plexus, NOT_FIRST), 0);
    }
    let events = server.list("events");
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(
        plexus.count("*", "nodes"),
        0,
        "the daemon may not read nodes"
    );
}

#[test]
fn a_file_that_is_renamed_again_and_again_emits_an_event_with_a_remedy() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster, server);
    rename_published(&node, 4);
    assert_eq!(value(&plexus, CONFLICT), 0);
    assert_eq!(server.list("events").len(), 0);
    rename_published(&node, 1);
    let event = wait_event(&plexus, "CNIConfigConflict", 1);
    assert_eq!(event["type"], "Warning");
    for part in [
        "00-plexus.conflist",
        "Cilium keeps renaming",
        "cni.exclusive to false",
    ] {
        assert!(message(&event).contains(part), "{event}");
    }
    assert_eq!(
        (value(&plexus, CONFLICT), value(&plexus, RESTORATIONS)),
        (1, 5)
    );
    assert_eq!(
        plexus.daemon.status_of("/readyz"),
        200,
        "the file is restored"
    );
    rename_published(&node, 1);
    wait_event(&plexus, "CNIConfigConflict", 2);
    assert_eq!(value(&plexus, RESTORATIONS), 6);
    let events = server.list("events");
    assert_eq!(events.len(), 1, "{events:#?}");
}

#[test]
fn an_event_that_cannot_be_sent_delays_nothing() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = start(&node, &cluster, server);
    plexus.stop_server();
    let start = Instant::now();
    for name in ["00-aaa.conflist", "00-bbb.conflist"] {
        node.write(in_net_d(name), "{}");
        plexus
            .daemon
            .wait_not_ready(&format!("{name} sorts before"));
        assert_eq!(value(&plexus, NOT_FIRST), 1);
        remove(&node, name);
        plexus.daemon.wait_ready();
    }
    rename_published(&node, 1);
    let pod = plexus.unknown_pod(Pod::new("during"));
    plexus.add(&plexus.runtime, &pod).0.result();
    // The timeout of a request is 10 s.
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    server.resume();
    let event = wait_event(&plexus, "CNIConfigNotFirst", 1);
    assert!(message(&event).contains("00-aaa.conflist"), "{event}");
    // Events of the pod are not lost either.
    plexus
        .namespace
        .wait_for_event("during", |event| event["reason"] == "AddedInterface");
}
