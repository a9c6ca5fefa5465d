//! The default of `maxPluginRuns`, from the memory limit: plugins are in the daemon's control
//! group.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

/// Memory of the daemon itself, in bytes.
const DAEMON: u64 = 32 << 20;
/// Memory of one call in bytes: a plugin and its IPAM plugin, twice what the reference plugins
/// need.
const CALL: u64 = 16 << 20;
/// More plugins at once are no faster: they share locks of the kernel such as the routing lock.
const MAX_RUNS: usize = 32;
/// One plugin that hangs must not block DEL.
const MIN_RUNS: usize = 2;

/// How many calls may run plugins at the same time.
pub(crate) fn max_plugin_runs() -> usize {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = limit(&groups, Path::new("/sys/fs/cgroup"));
    let runs = runs_within(limit);
    if let Some(limit) = limit {
        tracing::info!(
            limit,
            runs,
            "maxPluginRuns follows from the memory limit of plexusd"
        );
    }
    runs
}

fn runs_within(limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return MAX_RUNS };
    usize::try_from(limit.saturating_sub(DAEMON) / CALL)
        .unwrap_or(MAX_RUNS)
        .clamp(MIN_RUNS, MAX_RUNS)
}

/// The lowest `memory.max` of our control group and its ancestors; `groups` is `/proc/self/cgroup`.
/// In a container that sees only its own group, that group is mounted at `root`, whatever path
/// `groups` has. Ignores version 1 of control groups.
fn limit(groups: &str, root: &Path) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Path::new(own)
        .ancestors()
        .map(|group| root.join(group).join("memory.max"))
        // "max" is no limit, and the root group has no such file.
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
}
