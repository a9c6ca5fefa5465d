//! The shim binary in the runtime's plugin directory. Blocking.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::time::Instant;

use super::restore_limiter::RestoreLimiter;
use super::{Reconciled, SHIM};
use crate::atomic_file::{AtomicFile, with_path};
use crate::file_id::FileId;
use crate::problem::{Problem, remedy_for_dir};
use crate::regular_file;

const MODE: u32 = 0o755;
/// More than any shim has, in bytes.
const MAX_SIZE: u64 = 64 << 20;
/// The maximum number of attempts to execute a shim that is still open for writing. An attempt
/// takes a fraction of a millisecond.
const EXEC_ATTEMPTS: usize = 2000;

#[derive(Debug)]
pub(super) struct Shim {
    /// Our own copy.
    source: PathBuf,
    dir: PathBuf,
    /// The fingerprint of the installed file when the file was last equal to our copy.
    verified: Option<Fingerprint>,
    limiter: RestoreLimiter,
}

/// Metadata that changes whenever the file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    id: FileId,
    size: u64,
    mode: u32,
    /// Seconds and nanoseconds.
    ctime: (i64, i64),
}

impl From<&Metadata> for Fingerprint {
    fn from(metadata: &Metadata) -> Self {
        Self {
            id: metadata.into(),
            size: metadata.size(),
            mode: metadata.mode(),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Shim {
    /// `source` is the file to install in the directory `dir`.
    pub(super) fn new(source: PathBuf, dir: PathBuf) -> Self {
        Self {
            source,
            dir,
            verified: None,
            limiter: RestoreLimiter::default(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The problem while a restoration is delayed: until then, the runtime does not find our shim.
    pub(super) fn conflict(&self) -> Problem {
        let path = self.dir.join(SHIM);
        Problem::new(
            format!(
                "the shim is not installed: another program keeps removing or changing {}, so plexusd restores it with \
                 increasing delays",
                path.display()
            ),
            "find the program that writes to the directory (shimDir), often another installer of CNI plugins, and stop it",
        )
    }

    /// How the installed shim differs from our own. `None` if it does not.
    pub(super) fn difference(&self) -> Option<Problem> {
        let path = self.dir.join(SHIM);
        let own = match regular_file::read(&self.source, MAX_SIZE) {
            Ok(own) => own,
            Err(error) => {
                let text = format!("cannot read {}", with_path(&self.source, &error));
                return Some(Problem::new(text, "set the path of the shim with --shim"));
            }
        };
        let text = match (fingerprint(&path), regular_file::read(&path, MAX_SIZE)) {
            (_, Err(error)) => format!("cannot read {}", with_path(&path, &error)),
            (Some(found), _) if found.mode & 0o777 != MODE => {
                let mode = found.mode & 0o777;
                format!(
                    "{} has the mode {mode:o} instead of {MODE:o}",
                    path.display()
                )
            }
            (_, Ok(installed)) if installed != own => {
                let source = self.source.display();
                format!("{} is not the same as {source}", path.display())
            }
            _ => return None,
        };
        let remedy = "a running plexusd restores it; if it does not, its log says why";
        Some(Problem::new(text, remedy))
    }

    /// Installs our shim, unless the installed file is already the same. A shim that another
    /// program keeps changing is restored with increasing delays.
    pub(super) fn reconcile(&mut self, now: Instant) -> Result<Reconciled, Problem> {
        let path = self.dir.join(SHIM);
        let installed = fingerprint(&path);
        if installed.is_some() && installed == self.verified {
            return Ok(Reconciled::Unchanged);
        }
        let source = regular_file::read(&self.source, MAX_SIZE).map_err(|error| {
            let error = with_path(&self.source, &error);
            let text = format!("the shim is not installed: cannot read {error}");
            Problem::new(text, "set the path of the shim with --shim")
        })?;
        let is_executable = installed.is_some_and(|found| found.mode & 0o777 == MODE);
        // Anything but a regular file is replaced like a file with another content.
        let size = source.len() as u64;
        if is_executable && regular_file::read(&path, size).is_ok_and(|found| found == source) {
            self.verified = fingerprint(&path);
            return Ok(Reconciled::Unchanged);
        }
        if self.verified.is_some()
            && let Err(next) = self.limiter.acquire(now)
        {
            return Ok(Reconciled::RetryAt(next));
        }
        AtomicFile::new(&path, MODE)
            .durable()
            .write_checked(&source, wait_until_executable)
            .map_err(|error| {
                let text = format!("the shim is not installed: {error}");
                Problem::new(text, remedy_for_dir("the directory (shimDir)", &error))
            })?;
        tracing::info!(file = %path.display(), "installed the shim");
        self.verified = fingerprint(&path);
        Ok(Reconciled::Written)
    }
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    fs::metadata(path)
        .ok()
        .map(|metadata| Fingerprint::from(&metadata))
}

/// Waits until no process has the file open for writing; until then execution fails with "Text file
/// busy". We have closed the file, but a plugin that we started meanwhile may have inherited the
/// descriptor until its `execve`.
fn wait_until_executable(path: &Path) -> io::Result<()> {
    for _ in 0..EXEC_ATTEMPTS {
        let mut command = Command::new(path);
        // Without CNI_COMMAND the shim prints its version and exits.
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match command.status() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::yield_now();
            }
            // A noexec mount here does not affect the runtime.
            _ => return Ok(()),
        }
    }
    Err(io::ErrorKind::ExecutableFileBusy.into())
}

#[cfg(test)]
mod tests;
