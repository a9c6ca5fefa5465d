//! The memory and the API requests of the daemon.

use std::fs;
use std::thread;
use std::time::Duration;

use plexus_apiserver::{ApiServer, AuditEntry};
use plexus_e2e::plexus_in_cluster::DEFINITIONS;
use plexus_e2e::{Cluster, PlexusInCluster, Pod, node, server};
use serde_json::json;

const DEFINITION_COUNT: usize = 1_000;
const PODS: usize = 250;
/// How long the daemon is idle. `PLEXUS_IDLE_SECONDS` overrides this.
const IDLE_SECONDS: u64 = 20;

#[test]
fn a_large_cluster_needs_little_memory_and_few_requests() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = PlexusInCluster::build(PlexusInCluster::on(&node), &cluster);
    create_objects(&plexus, server);
    plexus.daemon.restart();
    plexus.wait_watches();
    assert_eq!(plexus.count("list", "pods"), 1);
    let pages = plexus.count("list", DEFINITIONS);
    assert!((2..=10).contains(&pages), "{pages} pages");
    let at_start = plexus.requests().len();
    assert_eq!(at_start, 1 + pages + 2, "lists and watches of both kinds");

    let idle = std::env::var("PLEXUS_IDLE_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(IDLE_SECONDS);
    // The test counts the requests in this time.
    thread::sleep(Duration::from_secs(idle));
    let entries = plexus.requests();
    let while_idle: Vec<_> = entries[at_start..].iter().map(|entry| &entry.uri).collect();
    assert!(
        while_idle.len() <= usize::try_from(idle / 100 * 2).expect("a small number"),
        "not idle: {while_idle:#?}"
    );

    let (resident, anonymous) = memory(plexus.daemon.pid());
    println!(
        "plexusd with {DEFINITION_COUNT} definitions and {PODS} pods: \
         {resident} KiB resident, {anonymous} KiB anonymous"
    );
    // A debug build is several times larger than a release build, and counts as resident.
    let (max_resident, max_anonymous) = if cfg!(debug_assertions) {
        (64 << 10, 16 << 10)
    } else {
        (18 << 10, 6 << 10)
    };
    assert!(resident <= max_resident, "{resident} KiB resident");
    assert!(anonymous <= max_anonymous, "{anonymous} KiB anonymous");

    // ADD reads nothing, and deleted pods cause no requests.
    for round in 0..50 {
        let pod = plexus.pod(&Pod::new(&format!("round-{round}")).with_networks("net-1"));
        plexus.namespace.remove_pod(&pod.name);
    }
    let last = plexus.pod(&Pod::new("last"));
    plexus.add(&plexus.plain_runtime, &last).0.result();
    let after = plexus.requests().split_off(entries.len());
    let after: Vec<_> = after
        .iter()
        .map(AuditEntry::summary)
        .filter(|summary| !summary.ends_with(" events"))
        .collect();
    assert_eq!(after, ["patch pods/status"], "ADD reads nothing");
}

/// Creates definitions, pods of this node, and a pod of another node.
fn create_objects(plexus: &PlexusInCluster<'_>, server: &ApiServer) {
    for index in 0..DEFINITION_COUNT {
        let range = format!("10.{}.{}.0/24", index / 250, index % 250);
        let config = json!({
            "cniVersion": "1.0.0", "name": format!("net-{index}"), "plugins": [{
                "type": "macvlan", "master": "eth1", "mode": "bridge",
                "ipam": {"type": "whereabouts", "range": range},
            }],
        });
        let config = json!(config.to_string());
        server.create(&plexus.definition(&format!("net-{index}"), &config));
    }
    let padding = "x".repeat(2_000);
    for index in 0..PODS {
        let pod = Pod::new(&format!("pod-{index}")).with_networks(format!("net-{index}"));
        plexus.pod(&pod.annotated("k8s.v1.cni.cncf.io/network-status", &padding));
    }
    server.create(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "elsewhere", "namespace": "default"},
        "spec": {"nodeName": "node-2", "containers": [{"name": "c", "image": "i"}]},
    }));
}

/// The resident memory of a process, and the anonymous part of it, in KiB.
fn memory(pid: u32) -> (usize, usize) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("read smaps_rollup");
    let field = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .expect("a line");
        line.split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("a number")
    };
    (field("Rss:"), field("Anonymous:"))
}
