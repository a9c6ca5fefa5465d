//! The shim, where the runtime looks for plugins. Blocking.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::time::Instant;

use super::SHIM;
use super::backoff::Backoff;
use crate::atomic_file::AtomicFile;

/// How often a shim that is still open for writing is tried again; each try takes a fraction of a millisecond.
const TRIES: usize = 2000;

/// Our own shim, and the one on the node.
#[derive(Debug)]
pub(super) struct Shim {
    source: PathBuf,
    dir: PathBuf,
    /// The node's shim when it was last found to be ours.
    settled: Option<Identity>,
    backoff: Backoff,
}

/// What changes when a file does: device, inode, size, mode, time of the last change in nanoseconds.
type Identity = (u64, u64, u64, u32, i64, i64);

impl Shim {
    /// `source` is to be installed in `dir`.
    pub(super) fn new(source: PathBuf, dir: PathBuf) -> Self {
        Self {
            source,
            dir,
            settled: None,
            backoff: Backoff::default(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts our shim in place, unless the one that is there is the same. When to come again, where others quarrel.
    pub(super) fn bring(&mut self, now: Instant) -> io::Result<Option<Instant>> {
        let path = self.dir.join(SHIM);
        let there = identity(&path);
        if there.is_some() && there == self.settled {
            return Ok(None);
        }
        let ours = read(&self.source).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("our own shim {error}; --shim says where it is"),
            )
        })?;
        if there.is_none_or(|there| there.3 & 0o777 != 0o755) || read(&path)? != ours {
            if self.settled.is_some()
                && let Err(later) = self.backoff.next(now)
            {
                return Ok(Some(later));
            }
            AtomicFile::new(&path, 0o755)
                .durable()
                .write_checked(&ours, until_executable)?;
            tracing::info!(file = %path.display(), "the shim is installed");
        }
        self.settled = identity(&path);
        Ok(None)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::metadata(path).ok()?;
    Some((
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mode(),
        meta.ctime(),
        meta.ctime_nsec(),
    ))
}

/// Waits until nobody has the file open for writing any more. We have closed it, but a plugin that we started meanwhile
/// may have inherited it until it executes; to execute the file would fail with "Text file busy" until then.
fn until_executable(path: &Path) -> io::Result<()> {
    for _ in 0..TRIES {
        let mut command = Command::new(path);
        // Without CNI_COMMAND it says what it is.
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match command.status() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::yield_now();
            }
            // A mount that forbids us to execute it does not forbid the runtime.
            _ => return Ok(()),
        }
    }
    Err(io::ErrorKind::ExecutableFileBusy.into())
}

#[cfg(test)]
mod tests;
