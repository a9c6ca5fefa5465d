//! What is on a node, compared with what its living pods have.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::ip;

/// The records.
pub const LEDGER: &str = "/var/lib/plexus/ledger";
/// The calls that found no daemon.
pub const SPOOL: &str = "/var/lib/plexus/spool";
/// The addresses that host-local has given away.
pub const LEASES: &str = "/var/lib/cni/networks";

/// What there should be.
#[derive(Debug, Default)]
pub struct Expected {
    /// The containers with a record.
    pub containers: BTreeSet<String>,
    /// Network and container of each lease.
    pub leases: BTreeSet<(String, String)>,
    /// The number of veth ends on the node.
    pub veths: usize,
}

impl Expected {
    /// What is not so on the node of the calling thread.
    pub fn problem(&self) -> Option<String> {
        let records: BTreeSet<_> = names(LEDGER).iter().map(|name| before(name, ':')).collect();
        if records != self.containers {
            return Some(format!(
                "records: {records:#?}\nbut the pods are {:#?}",
                self.containers
            ));
        }
        let leases = leases();
        if leases != self.leases {
            return Some(format!(
                "leases: {leases:#?}\nbut the pods have {:#?}",
                self.leases
            ));
        }
        let links: Vec<_> = ip::links().into_iter().map(|link| link.name).collect();
        let veths = links.iter().filter(|name| name.starts_with("veth")).count();
        let own = ["lo", "uplink0", "uplink0p", "cni0", "br1"];
        if veths != self.veths
            || !links
                .iter()
                .all(|name| name.starts_with("veth") || own.contains(&name.as_str()))
        {
            return Some(format!(
                "links: {links:?}\nbut there should be {} of veth, and the node's own",
                self.veths
            ));
        }
        let spooled = names(SPOOL);
        (!spooled.is_empty()).then(|| format!("in the spool: {spooled:?}"))
    }
}

/// Network and container of each lease.
fn leases() -> BTreeSet<(String, String)> {
    let mut leases = BTreeSet::new();
    for network in names(LEASES) {
        let dir = Path::new(LEASES).join(&network);
        let addresses = names(&dir)
            .into_iter()
            .filter(|name| name.parse::<IpAddr>().is_ok());
        for address in addresses {
            let text = fs::read_to_string(dir.join(&address)).unwrap_or_default();
            leases.insert((
                network.clone(),
                text.lines().next().unwrap_or_default().to_owned(),
            ));
        }
    }
    leases
}

fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn before(text: &str, end: char) -> String {
    text.split(end).next().unwrap_or_default().to_owned()
}
