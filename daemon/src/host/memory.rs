//! How much memory there is for plugins: they are processes of the daemon's control group.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::Path;

/// For the daemon itself.
const DAEMON: u64 = 32 << 20;
/// For one call: a plugin and the one for addresses that it runs, twice what the reference plugins take.
const CALL: u64 = 16 << 20;
/// Without a limit: what plugins share, such as the kernel's routing lock, makes more of them no quicker.
const MOST: usize = 32;
/// One that hangs must not keep DEL waiting.
const LEAST: usize = 2;

/// How many calls may run plugins at one time.
pub(crate) fn plugin_runs() -> usize {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = limit(&groups, Path::new("/sys/fs/cgroup"));
    let runs = within(limit);
    if let Some(limit) = limit {
        tracing::info!(
            limit,
            runs,
            "maxPluginRuns follows from the memory limit of plexusd"
        );
    }
    runs
}

fn within(limit: Option<u64>) -> usize {
    let Some(limit) = limit else { return MOST };
    usize::try_from(limit.saturating_sub(DAEMON) / CALL)
        .unwrap_or(MOST)
        .clamp(LEAST, MOST)
}

/// The least `memory.max` of our control group and those above it; `groups` is `/proc/self/cgroup`. Where a container
/// sees its own group alone, that is mounted at `root`, whatever `groups` calls it. Version 1 of control groups is not
/// asked.
fn limit(groups: &str, root: &Path) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let above = Path::new(own)
        .ancestors()
        .map(|group| root.join(group).join("memory.max"));
    // "max" is no limit, and the root of all has none.
    above
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
}
