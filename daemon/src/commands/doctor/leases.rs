//! The leases of host-local: networks that run out of addresses, and leases of no container.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::facts::Facts;
use super::finding::{Finding, Level, Outcome};
use crate::commands::lint::{Assignable, host_local_sets};
use crate::ledger::Ledger;

/// Where host-local keeps its leases unless `dataDir` is set.
const DATA_DIR: &str = "/var/lib/cni/networks";
/// Where runtimes keep the results of attachments. The names of the files contain the container ID.
const RESULTS: &str = "/var/lib/cni/results";
/// A lease is a container ID and the name of an interface.
const MAX_LEASE: u64 = 4096;
/// The number of leases that a finding names.
const MAX_NAMED: usize = 3;

/// The addresses of a network on this node.
#[derive(Debug)]
struct Pool {
    /// The name inside the configuration.
    name: String,
    dir: PathBuf,
    sets: Vec<Vec<Assignable>>,
    leases: Vec<Lease>,
}

#[derive(Debug, Clone)]
struct Lease {
    address: IpAddr,
    container: String,
}

/// Networks have addresses left.
pub(super) async fn addresses(facts: &Facts) -> Outcome {
    match pools(facts).await {
        Ok(pools) => pools
            .iter()
            .filter_map(Pool::judge)
            .collect::<Vec<_>>()
            .into(),
        Err(error) => Some(Finding::failed("leases", error.to_string())).into(),
    }
}

/// Each lease belongs to a container that exists, or whose DEL is retried.
pub(super) async fn leases(facts: &Facts) -> Outcome {
    let pools = match pools(facts).await {
        Ok(pools) => pools,
        Err(error) => return Some(Finding::failed("leases", error.to_string())).into(),
    };
    let Some(plugins) = &facts.plugins else {
        return Outcome::NotApplicable("plugins cannot run");
    };
    let mut known = recorded(facts);
    known.extend(names_in(&facts.settings().cni_dir));
    let results = plugins.host.run(|| names_in(Path::new(RESULTS))).await;
    known.extend(results.unwrap_or_default());
    let is_known = |lease: &&Lease| known.iter().any(|name| name.contains(&lease.container));
    let mut suspects: Vec<(&Pool, Vec<&Lease>)> = Vec::new();
    for pool in &pools {
        let unknown: Vec<_> = pool
            .leases
            .iter()
            .filter(|lease| !is_known(lease))
            .collect();
        if !unknown.is_empty() {
            suspects.push((pool, unknown));
        }
    }
    if suspects.is_empty() {
        return Vec::new().into();
    }
    let cgroups = tokio::task::spawn_blocking(cgroups_of_processes).await;
    let cgroups = cgroups.unwrap_or_default();
    let findings = suspects.into_iter().filter_map(|(pool, mut unknown)| {
        unknown.retain(|lease| !cgroups.contains(&lease.container));
        pool.leaked(&unknown)
    });
    findings.collect::<Vec<_>>().into()
}

/// The networks with host-local, with their leases. Each is read once.
async fn pools(facts: &Facts) -> io::Result<Vec<Pool>> {
    let Some(plugins) = &facts.plugins else {
        return Ok(Vec::new());
    };
    let networks = facts.of_definitions.iter().map(|(_, network)| network);
    let mut pools: BTreeMap<PathBuf, Pool> = BTreeMap::new();
    for network in facts.networks.iter().chain(networks) {
        for (data_dir, sets) in host_local_sets(&network.config) {
            let name = network.config.name.clone();
            let dir = Path::new(data_dir.as_deref().unwrap_or(DATA_DIR)).join(&name);
            let pool = Pool {
                name,
                dir: dir.clone(),
                sets,
                leases: Vec::new(),
            };
            pools.entry(dir).or_insert(pool);
        }
    }
    let mut pools: Vec<_> = pools.into_values().collect();
    for pool in &mut pools {
        let dir = pool.dir.clone();
        pool.leases = plugins.host.run(move || read(&dir)).await?;
    }
    Ok(pools)
}

/// The leases in a directory: files whose name is the address.
fn read(dir: &Path) -> Vec<Lease> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let leases = entries.filter_map(|entry| {
        let address = entry.file_name().to_str()?.parse().ok()?;
        let content = crate::regular_file::read(&entry.path(), MAX_LEASE).ok()?;
        let content = String::from_utf8_lossy(&content);
        let container = content.lines().next().unwrap_or_default().trim().to_owned();
        Some(Lease { address, container })
    });
    leases.collect()
}

impl Pool {
    /// A pod gets an address of each set, so the smallest rest counts.
    fn judge(&self) -> Option<Finding> {
        let rests = self.sets.iter().map(|ranges| {
            let sizes = ranges.iter().map(|range| range.count);
            let size = sizes.fold(0, u128::saturating_add);
            let is_used = |lease: &&Lease| {
                let mut ranges = ranges.iter().map(|range| range.range);
                ranges.any(|range| range.contains(lease.address))
            };
            let used = self.leases.iter().filter(is_used).count() as u128;
            (size.saturating_sub(used), size, used)
        });
        let (rest, size, used) = rests.min()?;
        let level = match rest {
            _ if used == 0 => return None,
            0 => Level::Failed,
            _ if rest.saturating_mul(10) <= size => Level::Warning,
            _ => return None,
        };
        let text = format!("{used} of {size} addresses are in use on this node");
        let remedy = format!(
            "enlarge the range, or look for leases that are not needed in {}",
            self.dir.display()
        );
        let subject = format!("network name {:?}", self.name);
        Some(Finding::new(level, subject, text).with_remedy(remedy))
    }

    fn leaked(&self, leases: &[&Lease]) -> Option<Finding> {
        if leases.is_empty() {
            return None;
        }
        let named = leases.iter().take(MAX_NAMED).map(|lease| {
            let container: String = lease.container.chars().take(13).collect();
            format!("{} ({container})", lease.address)
        });
        let text = format!(
            "{} leases are of containers that neither run nor are in the ledger: {}",
            leases.len(),
            named.collect::<Vec<_>>().join(", ")
        );
        let remedy = format!(
            "unless another program uses them, remove these files in {}",
            self.dir.display()
        );
        let subject = format!("network name {:?}", self.name);
        Some(Finding::warning(subject, text).with_remedy(remedy))
    }
}

/// The containers of all records.
fn recorded(facts: &Facts) -> BTreeSet<String> {
    let records = Ledger::summaries(&facts.settings().state_dir);
    let records = records.into_iter().flatten().flatten();
    records
        .map(|record| record.planned.container_id.clone())
        .collect()
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The paths of the control groups of all processes, which contain the IDs of their containers.
fn cgroups_of_processes() -> String {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let cgroups =
        processes.filter_map(|entry| fs::read_to_string(entry.path().join("cgroup")).ok());
    let lines: BTreeSet<_> = cgroups.collect();
    lines.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use plexus_api::cni::{Defaults, NetworkConfig, Version};

    use super::*;

    /// A network with the addresses .1 to .15 of a subnet, and .16 to .31 in another set.
    fn pool(leases: &[&str]) -> Pool {
        let text = r#"{"type":"bridge","ipam":{"type":"host-local","ranges":[[{"subnet":"10.0.0.0/28"}],[{"subnet":"10.0.1.0/24"}]]}}"#;
        let defaults = Defaults {
            name: Some("lan"),
            version: Version::V1_0_0,
        };
        let config = NetworkConfig::parse(text, defaults).expect("a configuration");
        let (_, sets) = host_local_sets(&config).remove(0);
        let lease = |address: &&str| Lease {
            address: address.parse().expect("an address"),
            container: "abcdef".to_owned(),
        };
        Pool {
            name: "lan".to_owned(),
            dir: Path::new(DATA_DIR).join("lan"),
            sets,
            leases: leases.iter().map(lease).collect(),
        }
    }

    #[test]
    fn the_set_with_the_fewest_free_addresses_counts() {
        let addresses: Vec<_> = (2..15).map(|last| format!("10.0.0.{last}")).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let level = |count: usize| {
            let finding = pool(&addresses[..count]).judge();
            finding.map(|finding| finding.level)
        };
        assert_eq!(level(0), None);
        assert_eq!(level(11), None);
        assert_eq!(level(12), Some(Level::Warning));
        assert_eq!(level(13), Some(Level::Failed));
        let other_set: Vec<_> = (2..20).map(|last| format!("10.0.1.{last}")).collect();
        let other_set: Vec<_> = other_set.iter().map(String::as_str).collect();
        assert!(pool(&other_set).judge().is_none());
    }

    #[test]
    fn a_lease_is_named_with_its_container() {
        let pool = pool(&["10.0.0.5"]);
        let leases: Vec<_> = pool.leases.iter().collect();
        let finding = pool.leaked(&leases).expect("a finding");
        assert!(finding.cause.contains("10.0.0.5 (abcdef)"), "{finding:?}");
        assert!(pool.leaked(&[]).is_none());
    }
}
