//! What is on the node at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use plexus_e2e::Node;

/// The bridges of the examples; the bridge plugin never removes one.
const BRIDGES: [&str; 2] = ["cni0", "storage0"];

/// The links, leases, network namespaces and records of a node.
pub struct Inventory {
    links: BTreeSet<String>,
    /// The addresses that host-local has given, as `network/address`.
    pub leases: BTreeSet<String>,
    netns: BTreeSet<String>,
    /// The files of the ledger and of the spool, with what is in them.
    state: BTreeMap<PathBuf, String>,
}

impl Inventory {
    /// Looks at the node.
    pub fn take(node: &Node, state_dir: &str) -> Self {
        let links = node.links().into_iter().map(|link| link.name).collect();
        node.run(|| Self {
            links,
            leases: leases(),
            netns: names(Path::new("/run/netns")),
            state: files(state_dir.as_ref()),
        })
    }

    /// Whether the ledger has anything about this container.
    pub fn mentions(&self, container: &str) -> bool {
        self.state.iter().any(|(path, text)| {
            path.to_string_lossy().contains(container) || text.contains(container)
        })
    }

    /// A line for each kind of thing.
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

    /// Compares with what was there before the pod `container`.
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

fn leases() -> BTreeSet<String> {
    let root = Path::new("/var/lib/cni/networks");
    let networks = names(root).into_iter();
    let of_network = |network: String| {
        let addresses = names(&root.join(&network))
            .into_iter()
            .filter(|name| name.parse::<std::net::IpAddr>().is_ok());
        addresses
            .map(|address| format!("{network}/{address}"))
            .collect::<Vec<_>>()
    };
    networks.flat_map(of_network).collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into())
        .collect()
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
