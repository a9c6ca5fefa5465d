//! The spool: the directory where DELs are stored while the daemon is unavailable.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use plexus_api::wire;

/// The current time, by which the daemon recognizes a DEL that is older than the sandbox. Without a
/// time, the daemon always serves the DEL.
pub fn now() -> Option<wire::Moment> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()?
        .trim()
        .to_owned();
    let since_boot = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    Some(wire::Moment {
        boot_id,
        boottime_ns: u64::try_from(since_boot.as_nanos()).ok()?,
    })
}

/// Writes a DEL durably and returns the file's path. `request` is the body of the HTTP request. A
/// later DEL of the same container and interface replaces an earlier one.
///
/// Readers skip files whose name starts with a dot, which may be incomplete.
pub fn write(
    state_dir: &Path,
    container_id: &str,
    ifname: &str,
    request: &[u8],
) -> io::Result<PathBuf> {
    write_with(File::sync_all, state_dir, container_id, ifname, request)
}

/// [`write()`] with the function that makes the content of a file, or the entries of a directory,
/// survive a power loss.
fn write_with(
    sync: impl Fn(&File) -> io::Result<()>,
    state_dir: &Path,
    container_id: &str,
    ifname: &str,
    request: &[u8],
) -> io::Result<PathBuf> {
    let sync_dir = |dir: &Path| sync(&File::open(dir)?);
    let dir = state_dir.join(wire::SPOOL_DIR);
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        sync_dir(state_dir)?;
    }
    let path = dir.join(format!("{container_id}:{ifname}.json"));
    let temporary = dir.join(format!(".{container_id}:{ifname}.{}", process::id()));
    create(&temporary, request)
        .and_then(|file| sync(&file))
        .and_then(|()| fs::rename(&temporary, &path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    sync_dir(&dir)?;
    Ok(path)
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Whether Plexus was uninstalled from this node and no record is left to delete (decision 11).
pub fn uninstalled(state_dir: &Path) -> bool {
    state_dir.join(wire::UNINSTALLED).exists() && is_empty(&state_dir.join(wire::LEDGER_DIR))
}

fn is_empty(dir: &Path) -> bool {
    match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests;
