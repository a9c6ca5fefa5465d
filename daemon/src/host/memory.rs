//! The default of `maxPluginRuns`, derived from the memory limit of the daemon's cgroup, in which
//! plugins run if they cannot join that of the runtime.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

/// The memory of the daemon itself, in bytes.
const DAEMON_MEMORY: u64 = 32 << 20;
/// The memory of one call, in bytes: twice what a reference plugin and its IPAM plugin need.
const CALL_MEMORY: u64 = 16 << 20;
/// More concurrent plugins are no faster, since they contend for kernel locks such as the RTNL.
const MAX_RUNS: usize = 32;
/// With fewer, pods that select networks could take all permits: a group of them gets half, and all
/// of them together three quarters.
const MIN_RUNS: usize = 4;

/// How many calls may run plugins at the same time.
pub(crate) fn max_plugin_runs() -> usize {
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = memory_limit(&cgroups, Path::new("/sys/fs/cgroup"));
    let runs = runs_within(limit);
    if let Some(limit) = limit {
        tracing::info!(
            limit,
            runs,
            "maxPluginRuns is derived from the memory limit of plexusd"
        );
    }
    runs
}

fn runs_within(limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return MAX_RUNS };
    usize::try_from(limit.saturating_sub(DAEMON_MEMORY) / CALL_MEMORY)
        .unwrap_or(MAX_RUNS)
        .clamp(MIN_RUNS, MAX_RUNS)
}

/// The lowest `memory.max` of the daemon's cgroup and its ancestors. `cgroups` is the content of
/// `/proc/self/cgroup`. A container that sees only its own cgroup has it mounted at `root`, whatever
/// the path in `cgroups`. Ignores cgroup v1.
fn memory_limit(cgroups: &str, root: &Path) -> Option<u64> {
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Path::new(own)
        .ancestors()
        .map(|cgroup| root.join(cgroup).join("memory.max"))
        // "max" means no limit, and the root cgroup has no such file.
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
}
