//! What the daemon costs its node and its cluster.

use std::fs;
use std::thread;
use std::time::Duration;

use plexus_apiserver::AuditEntry;
use plexus_e2e::{Cluster, Pod, node};
use serde_json::json;

use crate::bench::{Bench, DEFINITIONS};
use crate::server;

const DEFINED: usize = 1_000;
const PODS: usize = 250;
/// How long nothing is asked of it; `PLEXUS_IDLE_SECONDS` makes it longer.
const IDLE: u64 = 20;

#[test]
fn a_large_cluster_costs_little() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = Bench::new(&node, &cluster, &json!({}));
    for index in 0..DEFINED {
        let config = json!({
            "cniVersion": "1.0.0", "name": format!("net-{index}"), "plugins": [{
                "type": "macvlan", "master": "eth1", "mode": "bridge",
                "ipam": {"type": "whereabouts", "range": format!("10.{}.{}.0/24", index / 250, index % 250)},
            }],
        });
        server.create(&bench.definition(&format!("net-{index}"), &json!(config.to_string())));
    }
    let padding = "x".repeat(2_000);
    for index in 0..PODS {
        let pod = Pod::new(&format!("pod-{index}")).with_networks(format!("net-{index}"));
        bench.pod(&pod.annotated("k8s.v1.cni.cncf.io/network-status", &padding));
    }
    // Pods of other nodes are nothing to this one.
    server.create(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "elsewhere", "namespace": "default"},
        "spec": {"nodeName": "node-2", "containers": [{"name": "c", "image": "i"}]},
    }));
    bench.daemon.restart();
    bench.wait_watches();
    assert_eq!(bench.count("list", "pods"), 1);
    let pages = bench.count("list", DEFINITIONS);
    assert!((2..=10).contains(&pages), "{pages} pages");

    let asked = bench.requests().len();
    assert_eq!(
        asked,
        1 + pages + 2,
        "a list of each kind and a watch of each"
    );
    let idle = std::env::var("PLEXUS_IDLE_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(IDLE);
    // This is what is measured: that time goes by without a request.
    thread::sleep(Duration::from_secs(idle));
    let entries = bench.requests();
    let beyond: Vec<_> = entries[asked..].iter().map(|entry| &entry.uri).collect();
    assert!(
        beyond.len() <= usize::try_from(idle / 100 * 2).expect("it is short"),
        "not idle: {beyond:#?}"
    );

    let (resident, anonymous) = memory(bench.daemon.pid());
    println!(
        "plexusd with {DEFINED} definitions and {PODS} pods: {resident} KiB resident, {anonymous} KiB anonymous"
    );
    // Unoptimised code is several times as large as what ships, and counts as resident.
    let (most, most_anonymous) = if cfg!(debug_assertions) {
        (64 << 10, 16 << 10)
    } else {
        (18 << 10, 6 << 10)
    };
    assert!(resident <= most, "{resident} KiB resident");
    assert!(anonymous <= most_anonymous, "{anonymous} KiB anonymous");

    // An ADD of one of them reads nothing, and pods that come and go leave nothing.
    for round in 0..50 {
        let pod = bench.pod(&Pod::new(&format!("round-{round}")).with_networks("net-1"));
        bench.namespace.remove_pod(&pod.name);
    }
    bench
        .add(&bench.older, &bench.pod(&Pod::new("last")))
        .0
        .result();
    let after = bench.requests().split_off(entries.len());
    let after: Vec<_> = after
        .iter()
        .map(AuditEntry::summary)
        .filter(|summary| !summary.ends_with(" events"))
        .collect();
    assert_eq!(after, ["patch pods/status"], "an ADD reads nothing");
}

/// What is resident of a process, and what of that is its own memory, in KiB.
fn memory(pid: u32) -> (usize, usize) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("it runs");
    let field = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .expect("the kernel tells");
        line.split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok())
            .expect("a number")
    };
    (field("Rss:"), field("Anonymous:"))
}
