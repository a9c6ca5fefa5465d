//! The spool: where a DEL waits for a daemon that is away.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use plexus_api::wire;

/// Now, so that the daemon does not take an old DEL for one of a later sandbox of that name. Without it the daemon
/// serves the DEL whenever it was.
pub fn now() -> Option<wire::Moment> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .ok()?
        .trim()
        .to_owned();
    let since = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    Some(wire::Moment {
        boot_id,
        boottime_ns: u64::try_from(since.as_nanos()).ok()?,
    })
}

/// Writes `request`, the body of a call as it goes over the wire, so that it outlasts a power loss, and returns
/// where. A later DEL of the same container and interface takes its place.
///
/// Names that begin with a dot are not finished; readers skip them.
pub fn write(
    state_dir: &Path,
    container_id: &str,
    ifname: &str,
    request: &[u8],
) -> io::Result<PathBuf> {
    let dir = state_dir.join(wire::SPOOL_DIR);
    if !dir.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        File::open(state_dir)?.sync_all()?;
    }
    let path = dir.join(format!("{container_id}:{ifname}.json"));
    let unfinished = dir.join(format!(".{container_id}:{ifname}.{}", process::id()));
    let written = write_synced(&unfinished, request).and_then(|()| fs::rename(&unfinished, &path));
    if let Err(error) = written {
        // The error that counts is the one that is returned.
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    File::open(&dir)?.sync_all()?;
    Ok(path)
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether Plexus was removed from this node for good: its marker is there, and nothing is left to delete.
pub fn uninstalled(state_dir: &Path) -> bool {
    state_dir.join(wire::UNINSTALLED).exists() && is_empty(&state_dir.join(wire::LEDGER_DIR))
}

fn is_empty(dir: &Path) -> bool {
    match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
