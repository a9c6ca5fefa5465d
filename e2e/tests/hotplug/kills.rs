//! The annotation changes again and again while plexusd is killed, with the plugins of the reference
//! implementation.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::leftovers::{ExpectedState, watched_dirs};
use plexus_e2e::real_networks::{self, DEFAULT, PLUGINS, SECONDARY};
use plexus_e2e::sequences::Random;
use plexus_e2e::{Cluster, CniTarget, Node, NodeWatch, PlexusInCluster, node, or_skip};
use serde_json::{Value, json};

use super::{Attached, annotate, attach, wait_status};

const ROUNDS: usize = 24;
/// How often the state is compared.
const COMPARED: usize = 4;

/// The annotations, and the networks of each.
const ANNOTATIONS: [(&str, &[(&str, &str)]); 4] = [
    ("", &[]),
    ("lan", &[("lan", "net1")]),
    (
        "lan@data0,storage@data1",
        &[("lan", "data0"), ("storage", "data1")],
    ),
    ("storage@data1", &[("storage", "data1")]),
];

/// What a node with one pod has.
fn expected(target: &CniTarget, networks: &[(&str, &str)]) -> ExpectedState {
    let names = networks.iter().map(|(network, _)| *network);
    let leases: BTreeSet<_> = std::iter::once(DEFAULT)
        .chain(names.clone())
        .map(|network| (network.to_owned(), target.container.clone()))
        .collect();
    ExpectedState {
        containers: [target.container.clone()].into(),
        leases,
        veths: 1 + names.filter(|network| *network == "storage").count(),
    }
}

/// Waits until the node and network-status have what the annotation asks for.
fn wait_settled(plexus: &PlexusInCluster<'_>, pod: &Attached<'_>, networks: &[(&str, &str)]) {
    let interfaces: Vec<_> = networks.iter().map(|(_, ifname)| *ifname).collect();
    // The order is that of the attachments, which depends on the order of the changes.
    let mut sorted = [&["eth0"], interfaces.as_slice()].concat();
    sorted.sort_unstable();
    NodeWatch::new(plexus.node, &watched_dirs()).wait_while(|| {
        let difference = expected(&pod.target, networks).difference(plexus.node);
        difference.or_else(|| {
            let mut links = pod.sandbox.link_names();
            links.retain(|name| name != "lo");
            links.sort_unstable();
            (links != sorted).then(|| format!("{links:?}"))
        })
    });
    let reported = wait_interfaces_in_any_order(plexus, &sorted);
    let addresses: Vec<_> = reported.iter().map(|entry| &entry["ips"][0]).collect();
    assert!(addresses.iter().all(|ip| ip.is_string()), "{reported:?}");
}

fn wait_interfaces_in_any_order(plexus: &PlexusInCluster<'_>, sorted: &[&str]) -> Vec<Value> {
    wait_status(plexus, "web", |entries| {
        let mut names: Vec<_> = entries
            .iter()
            .filter_map(|entry| entry["interface"].as_str())
            .collect();
        names.sort_unstable();
        names == sorted
    })
}

fn start<'n>(
    node: &'n Node,
    cluster: &'n Cluster,
    plugins: &std::path::Path,
) -> PlexusInCluster<'n> {
    let keys = json!({"hotplug": "on", "recoveryInterval": "300ms", "binDir": node.bin_dir()});
    let builder = real_networks::plexus_on(node, plugins).config(keys);
    let mut plexus = PlexusInCluster::build(builder, cluster);
    for name in SECONDARY {
        let config = real_networks::config(name);
        plexus.namespace.definition(name, &config);
    }
    plexus.daemon.restart();
    plexus
}

#[test]
fn interfaces_leases_records_and_status_agree_after_kills_at_any_time() {
    let plugins = or_skip!(plugin_dir(&PLUGINS));
    let (node, cluster) = (node!(), Cluster::new());
    let mut plexus = start(&node, &cluster, &plugins);
    let pod = attach(&plexus, "web", "");
    let mut random = Random::new(1);
    for round in 0..ROUNDS {
        let (annotation, networks) = ANNOTATIONS[(round + 1) % ANNOTATIONS.len()];
        annotate(&plexus, "web", annotation);
        if !random.one_in(4) {
            thread::sleep(Duration::from_millis(random.below(120)));
            plexus.daemon.kill();
            plexus.daemon.restart();
        }
        if round % COMPARED == COMPARED - 2 {
            wait_settled(&plexus, &pod, networks);
        }
    }
    annotate(&plexus, "web", "lan");
    wait_settled(&plexus, &pod, &[("lan", "net1")]);
    plexus.runtime.check(&pod.target).expect_success();
    plexus.runtime.del(&pod.target).expect_success();
    NodeWatch::new(&node, &watched_dirs())
        .wait_while(|| ExpectedState::default().difference(&node));
    assert_eq!(node.list("/var/lib/plexus/ledger"), [""; 0]);
}
