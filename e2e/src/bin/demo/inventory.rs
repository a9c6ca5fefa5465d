//! The resources on the node at one point in time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use plexus_e2e::Node;

/// The bridges of the examples, which the bridge plugin never removes.
const BRIDGES: [&str; 3] = ["cni0", "lan0", "storage0"];

/// The links, leases, network namespaces and records of a node.
pub struct Inventory {
    links: BTreeSet<String>,
    /// The leases of host-local as `network/address`.
    pub leases: BTreeSet<String>,
    netns: BTreeSet<String>,
    /// The files in the state directory and their content.
    state: BTreeMap<PathBuf, String>,
}

impl Inventory {
    pub fn take(node: &Node, state_dir: &str) -> Self {
        Self {
            links: node.links().into_iter().map(|link| link.name).collect(),
            leases: leases(node),
            netns: node.list("/run/netns").into_iter().collect(),
            state: node.run(|| files(state_dir.as_ref())),
        }
    }

    /// Whether the state directory has anything about this container.
    pub fn mentions(&self, container: &str) -> bool {
        self.state.iter().any(|(path, text)| {
            path.to_string_lossy().contains(container) || text.contains(container)
        })
    }

    /// One line for each kind of resource.
    pub fn describe(&self) -> String {
        let list = |set: &BTreeSet<String>| {
            if set.is_empty() {
                "none".to_owned()
            } else {
                set.iter().cloned().collect::<Vec<_>>().join("  ")
            }
        };
        let records = self.state.keys().filter_map(|path| {
            let record = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
            let (container, ifname) = record.split_once(':')?;
            Some(format!("{}… {ifname}", container.get(..12)?))
        });
        format!(
            "links of the node    {}\naddresses leased     {}\nnetwork namespaces   {}\nledger               {}",
            list(&self.links),
            list(&self.leases),
            list(&self.netns),
            list(&records.collect()),
        )
    }

    /// Compares with the inventory from before the pod `container` was attached.
    pub fn check_clean(&self, before: &Self, container: &str) -> Result<()> {
        let links: Vec<_> = self
            .links
            .difference(&before.links)
            .filter(|name| !BRIDGES.contains(&name.as_str()))
            .collect();
        ensure!(links.is_empty(), "links are left on the node: {links:?}");
        ensure!(
            self.leases == before.leases,
            "leases are left: {:?}",
            self.leases
        );
        ensure!(
            self.netns == before.netns,
            "network namespaces are left: {:?}",
            self.netns
        );
        ensure!(
            !self.mentions(container),
            "the ledger still has the pod: {:?}",
            self.state.keys()
        );
        Ok(())
    }
}

fn leases(node: &Node) -> BTreeSet<String> {
    let root = Path::new("/var/lib/cni/networks");
    let mut leases = BTreeSet::new();
    for network in node.list(root) {
        let names = node.list(root.join(&network));
        let addresses = names.iter().filter(|name| name.parse::<IpAddr>().is_ok());
        leases.extend(addresses.map(|address| format!("{network}/{address}")));
    }
    leases
}

fn files(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(
                path.clone(),
                fs::read(&path)
                    .map(|text| String::from_utf8_lossy(&text).into())
                    .unwrap_or_default(),
            );
        }
    }
    found
}
