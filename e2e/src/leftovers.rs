//! Compares the records, leases and links on a node with those of its running pods.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use crate::real_networks::{LINKS, NETWORKS};
use crate::{CniTarget, Node};

/// The directory of the ledger.
pub const LEDGER: &str = "/var/lib/plexus/ledger";
/// The directory of DELs that found no daemon.
pub const SPOOL: &str = "/var/lib/plexus/spool";
/// The directory of host-local's leases.
const LEASES: &str = "/var/lib/cni/networks";

/// What the running pods should have on their node.
#[derive(Debug, Default)]
pub struct ExpectedState {
    /// The containers with a record.
    pub containers: BTreeSet<String>,
    /// Network and container of each lease.
    pub leases: BTreeSet<(String, String)>,
    /// The number of veth ends on the node.
    pub veths: usize,
}

impl ExpectedState {
    /// The first difference between the node and this state.
    pub fn difference(&self, node: &Node) -> Option<String> {
        let records: BTreeSet<_> = node
            .list(LEDGER)
            .iter()
            .map(|name| container_of(name))
            .collect();
        if records != self.containers {
            return Some(format!(
                "records: {records:#?}\nexpected: {:#?}",
                self.containers
            ));
        }
        let leases = leases(node);
        if leases != self.leases {
            return Some(format!("leases: {leases:#?}\nexpected: {:#?}", self.leases));
        }
        let (veths, others): (Vec<_>, Vec<_>) = node
            .links()
            .into_iter()
            .map(|link| link.name)
            .partition(|name| name.starts_with("veth"));
        if veths.len() != self.veths || !others.iter().all(|name| LINKS.contains(&name.as_str())) {
            return Some(format!(
                "links: {veths:?} {others:?}\nexpected: {} veth and links of {LINKS:?}",
                self.veths
            ));
        }
        let spooled = node.list(SPOOL);
        (!spooled.is_empty()).then(|| format!("in the spool: {spooled:?}"))
    }
}

/// The directories in which a difference shows up.
pub fn watched_dirs() -> Vec<String> {
    let leases = NETWORKS.map(|network| format!("{LEASES}/{network}"));
    [LEDGER, SPOOL]
        .map(str::to_owned)
        .into_iter()
        .chain(leases)
        .collect()
}

/// The file of a record.
pub fn record_path(target: &CniTarget) -> String {
    format!("{LEDGER}/{}:{}.jsonl", target.container, target.ifname)
}

/// Network and container of each lease.
pub fn leases(node: &Node) -> BTreeSet<(String, String)> {
    let mut leases = BTreeSet::new();
    for network in node.list(LEASES) {
        let dir = Path::new(LEASES).join(&network);
        let names = node.list(&dir).into_iter();
        for address in names.filter(|name| name.parse::<IpAddr>().is_ok()) {
            let text = node.try_read(dir.join(address)).unwrap_or_default();
            let container = text.lines().next().unwrap_or_default();
            leases.insert((network.clone(), container.to_owned()));
        }
    }
    leases
}

fn container_of(record: &str) -> String {
    record.split(':').next().unwrap_or_default().to_owned()
}
