//! The leases of host-local: networks that run out of addresses, and leases of no container.

mod pools;
mod recorded;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::facts::Facts;
use super::finding::{Finding, Level, Outcome, Repair};
pub(super) use pools::Lease;
use pools::{Pool, lease, pools};
use recorded::{Recorded, RetiredRecord};

/// Where runtimes keep the results of attachments. The names of the files contain the container ID.
const RESULTS: &str = "/var/lib/cni/results";
/// The number of leases that a finding names.
const MAX_NAMED: usize = 3;
/// The file that host-local locks while it changes the leases of a network.
const LOCK: &str = "lock";

/// Networks have addresses left.
pub(super) async fn addresses(facts: &Facts) -> Outcome {
    match pools(facts, &Recorded::default()).await {
        Ok(pools) => {
            let full = pools.iter().filter_map(judge);
            full.chain(pools.iter().filter_map(unwritable))
                .collect::<Vec<_>>()
                .into()
        }
        Err(error) => Some(Finding::failed("leases", error.to_string())).into(),
    }
}

/// Each lease belongs to a container that exists, or whose DEL is retried.
pub(super) async fn leases(facts: &Facts) -> Outcome {
    let Some(plugins) = &facts.plugins else {
        return Outcome::NotApplicable("plugins cannot run");
    };
    let recorded = Recorded::read(facts.settings().state_dir.clone()).await;
    let pools = match pools(facts, &recorded).await {
        Ok(pools) => pools,
        Err(error) => return Some(Finding::failed("leases", error.to_string())).into(),
    };
    let mut known = recorded.containers;
    known.extend(names_in(&facts.settings().cni_dir));
    let results = plugins.host.run(|| names_in(Path::new(RESULTS))).await;
    known.extend(results.unwrap_or_default());
    let is_known = |lease: &&Lease| known.iter().any(|name| name.contains(&lease.container));
    let mut suspects: Vec<(&Pool, Vec<&Lease>)> = Vec::new();
    for pool in &pools {
        let leases = pool.leases.iter();
        let unknown: Vec<_> = leases.filter(|lease| !is_known(lease)).collect();
        if !unknown.is_empty() {
            suspects.push((pool, unknown));
        }
    }
    if suspects.is_empty() {
        return Vec::new().into();
    }
    let cgroups = tokio::task::spawn_blocking(cgroups_of_processes).await;
    let cgroups = cgroups.unwrap_or_default();
    let mut of_records: Vec<Vec<(&Pool, &Lease)>> = vec![Vec::new(); recorded.retired.len()];
    let mut findings = Vec::new();
    for (pool, mut unknown) in suspects {
        unknown.retain(|lease| !cgroups.contains(&lease.container));
        unknown.retain(|lease| {
            let retired = recorded.retired.iter();
            let record = retired
                .zip(&mut of_records)
                .find(|(record, _)| record.has(lease));
            record
                .map(|(_, leases)| leases.push((pool, lease)))
                .is_none()
        });
        findings.extend(leaked(pool, &unknown));
    }
    let retired = recorded.retired.iter().zip(&of_records);
    findings.extend(retired.filter_map(|(record, leases)| of_retired(record, leases)));
    findings.into()
}

/// A pod gets an address of each set, so the smallest rest counts.
fn judge(pool: &Pool) -> Option<Finding> {
    let rests = pool.sets.iter().map(|ranges| {
        let sizes = ranges.iter().map(|range| range.count);
        let size = sizes.fold(0, u128::saturating_add);
        let is_used = |lease: &&Lease| {
            let mut ranges = ranges.iter().map(|range| range.range);
            ranges.any(|range| range.contains(lease.address))
        };
        let used = pool.leases.iter().filter(is_used).count() as u128;
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
        pool.dir.display()
    );
    Some(Finding::new(level, pool.subject(), text).with_remedy(remedy))
}

/// host-local cannot write a lease, so each ADD of the network fails.
fn unwritable(pool: &Pool) -> Option<Finding> {
    let level = if pool.is_needed {
        Level::Failed
    } else {
        Level::Warning
    };
    let text = format!(
        "host-local can assign no address: {}",
        pool.unwritable.as_ref()?
    );
    let remedy = "mount the file system writable, or correct dataDir of the network";
    Some(Finding::new(level, pool.subject(), text).with_remedy(remedy))
}

fn leaked(pool: &Pool, leases: &[&Lease]) -> Option<Finding> {
    if leases.is_empty() {
        return None;
    }
    let named = leases.iter().take(MAX_NAMED).map(|lease| {
        let container: String = lease.container.chars().take(13).collect();
        format!("{} ({container})", lease.address)
    });
    let text = format!(
        "leases of containers that neither run nor are in the ledger ({}): {}",
        leases.len(),
        named.collect::<Vec<_>>().join(", ")
    );
    let remedy = format!(
        "unless another program uses them, remove these files in {}",
        pool.dir.display()
    );
    Some(Finding::warning(pool.subject(), text).with_remedy(remedy))
}

/// The leases of a retired record. The record proves that they belong to Plexus: a record is retired
/// only after its sandbox is proved to be gone.
fn of_retired(record: &RetiredRecord, leases: &[(&Pool, &Lease)]) -> Option<Finding> {
    if leases.is_empty() {
        return None;
    }
    let named = leases.iter().take(MAX_NAMED);
    let named = named.map(|(pool, lease)| format!("{} ({})", lease.address, pool.name));
    let text = format!(
        "its sandbox is gone and its record is retired, but leases remain ({}): {}",
        leases.len(),
        named.collect::<Vec<_>>().join(", ")
    );
    let subject = format!("pod {} (container {})", record.pod, record.container);
    let files = leases.iter();
    let files = files.map(|(pool, lease)| (pool.dir.join(lease.address.to_string()), *lease));
    Some(Finding {
        repair: Some(Repair::RemoveLeases(
            files.map(|(file, lease)| (file, lease.clone())).collect(),
        )),
        ..Finding::warning(subject, text).with_remedy("`plexusd doctor --fix` removes the leases")
    })
}

/// Removes a lease, unless it has another content by now. Blocking.
///
/// # Errors
/// Also if host-local is changing the leases of the network.
pub(super) fn remove(file: &Path, expected: &Lease) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(LOCK))?;
    lock.try_lock()?;
    match lease(file) {
        Some(found) if found == *expected => fs::remove_file(file),
        // The address is free, or has another owner.
        _ => Ok(()),
    }
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
