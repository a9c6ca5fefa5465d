//! The addresses of host-local on this node.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::unistd::{AccessFlags, eaccess};
use plexus_api::cni::NetworkConfig;

use super::recorded::Recorded;
use crate::commands::doctor::facts::Facts;
use crate::commands::lint::{Assignable, host_local_sets};

/// Where host-local keeps its leases unless `dataDir` is set.
pub(super) const DATA_DIR: &str = "/var/lib/cni/networks";
/// A lease is a container ID and the name of an interface.
const MAX_LEASE: u64 = 4096;

/// The addresses of a network on this node.
#[derive(Debug)]
pub(super) struct Pool {
    /// The name inside the configuration.
    pub(super) name: String,
    pub(super) dir: PathBuf,
    /// Empty if only records have the network.
    pub(super) sets: Vec<Vec<Assignable>>,
    pub(super) leases: Vec<Lease>,
    /// Whether pods of this node use the network.
    pub(super) is_needed: bool,
    /// Why no lease can be written.
    pub(super) unwritable: Option<String>,
}

/// A lease of host-local.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::commands::doctor) struct Lease {
    pub(super) address: IpAddr,
    pub(super) container: String,
    /// Empty in the files of old versions.
    pub(super) ifname: String,
}

impl Pool {
    fn new(name: &str, dir: &Path) -> Self {
        Self {
            name: name.to_owned(),
            dir: dir.to_owned(),
            sets: Vec::new(),
            leases: Vec::new(),
            is_needed: false,
            unwritable: None,
        }
    }

    pub(super) fn subject(&self) -> String {
        format!("network name {:?}", self.name)
    }
}

/// The networks with host-local, with their leases: those of every pod, of the definitions, and of the
/// records. Each is read once.
pub(super) async fn pools(facts: &Facts, recorded: &Recorded) -> io::Result<Vec<Pool>> {
    let Some(plugins) = &facts.plugins else {
        return Ok(Vec::new());
    };
    let of_pods = facts.networks.iter().map(|network| (true, network));
    let of_definitions = facts.of_definitions.iter();
    let of_definitions =
        of_definitions.map(|(name, network)| (facts.selected.contains(name), network));
    let mut pools: BTreeMap<PathBuf, Pool> = BTreeMap::new();
    for (is_needed, network) in of_pods.chain(of_definitions) {
        for (dir, sets) in dirs_and_sets(&network.config) {
            let name = &network.config.name;
            let pool = pools
                .entry(dir)
                .or_insert_with_key(|dir| Pool::new(name, dir));
            if pool.sets.is_empty() {
                pool.sets = sets;
            }
            pool.is_needed |= is_needed;
        }
    }
    for (dir, name) in &recorded.pools {
        let pool = pools.entry(dir.clone());
        pool.or_insert_with_key(|dir| Pool::new(name, dir));
    }
    let mut pools: Vec<_> = pools.into_values().collect();
    for pool in &mut pools {
        let dir = pool.dir.clone();
        let read = plugins.host.run(move || (read(&dir), unwritable(&dir)));
        (pool.leases, pool.unwritable) = read.await?;
    }
    Ok(pools)
}

/// The directories of the leases of a network, with the ranges of their addresses.
pub(super) fn dirs_and_sets(config: &NetworkConfig) -> Vec<(PathBuf, Vec<Vec<Assignable>>)> {
    let sets = host_local_sets(config).into_iter();
    sets.map(|(data_dir, sets)| {
        let data_dir = data_dir.as_deref().unwrap_or(DATA_DIR);
        (Path::new(data_dir).join(&config.name), sets)
    })
    .collect()
}

/// The leases in a directory: files whose name is the address.
fn read(dir: &Path) -> Vec<Lease> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| lease(&entry.path())).collect()
}

/// Why host-local cannot write in a directory, which it creates if it is missing.
fn unwritable(dir: &Path) -> Option<String> {
    let existing = dir.ancestors().find(|dir| dir.exists())?;
    if !existing.is_dir() {
        return Some(format!("{} is not a directory", existing.display()));
    }
    let error = eaccess(existing, AccessFlags::W_OK).err()?;
    Some(format!(
        "{} cannot be written: {}",
        existing.display(),
        error.desc()
    ))
}

/// The lease in a file. `None` if the file is no lease.
pub(super) fn lease(file: &Path) -> Option<Lease> {
    let address = file.file_name()?.to_str()?.parse().ok()?;
    let content = crate::regular_file::read(file, MAX_LEASE).ok()?;
    let content = String::from_utf8_lossy(&content);
    let mut lines = content.lines().map(|line| line.trim().to_owned());
    Some(Lease {
        address,
        container: lines.next().unwrap_or_default(),
        ifname: lines.next().unwrap_or_default(),
    })
}
