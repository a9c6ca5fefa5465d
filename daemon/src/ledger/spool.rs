//! The spool: DELs that arrived while no daemon was running. The shim writes each as one file,
//! `<state directory>/spool/*.json`, and the daemon serves them later.

use std::path::{Path, PathBuf};
use std::{fs, io};

use plexus_api::wire::{MAX_REQUEST, Request, SPOOL_DIR};

use super::{LedgerError, quarantine};
use crate::regular_file;

/// The largest file that is read, in bytes: a request and the time when it was stored.
const MAX_SIZE: u64 = MAX_REQUEST as u64 + 1024;

/// A request in the spool.
#[derive(Debug)]
pub(crate) struct SpooledRequest {
    state_dir: PathBuf,
    path: PathBuf,
}

/// The requests in the spool of a state directory, sorted by file name. Removes the unfinished
/// files of shims that were killed: their callers got an error. Blocking.
///
/// # Errors
/// [`LedgerError::Io`] if the spool exists but cannot be read.
pub(super) fn pending(state_dir: &Path) -> Result<Vec<SpooledRequest>, LedgerError> {
    let mut paths = files(state_dir)?;
    for path in paths.iter().filter(|path| is_abandoned(path)) {
        // Best effort: the file does no harm.
        let _ = fs::remove_file(path);
    }
    paths.retain(|path| is_request(path));
    Ok(paths
        .into_iter()
        .map(|path| SpooledRequest {
            state_dir: state_dir.to_owned(),
            path,
        })
        .collect())
}

/// The paths of the requests in the spool of a state directory, sorted. Blocking.
pub(super) fn requests(state_dir: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let mut paths = files(state_dir)?;
    paths.retain(|path| is_request(path));
    Ok(paths)
}

fn files(state_dir: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let dir = state_dir.join(SPOOL_DIR);
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(LedgerError::io("list", &dir))?,
    };
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()
        .map_err(LedgerError::io("list", &dir))?;
    paths.sort();
    Ok(paths)
}

/// Whether a file is complete: the shim writes under a temporary name first.
fn is_request(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

/// Whether a file is unfinished, `.<container id>:<interface>.<pid>`, and its shim is no longer
/// running.
fn is_abandoned(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pid = name
        .strip_prefix('.')
        .and_then(|name| name.rsplit_once('.'))
        .and_then(|(_, pid)| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

impl SpooledRequest {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the request. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] if the file is not a request. The file has then been moved to the
    /// quarantine.
    pub(crate) fn read(&self) -> Result<Request, LedgerError> {
        let bytes = match regular_file::read(&self.path, MAX_SIZE) {
            Err(error) if regular_file::is_unusable(&error) => {
                return Err(self.quarantine(&error.to_string()));
            }
            bytes => bytes.map_err(LedgerError::io("read", &self.path))?,
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| self.quarantine(&format!("not a request: {error}")))
    }

    /// Moves the request to the quarantine, because it can never be served. Returns the error to be
    /// logged. Blocking.
    pub(crate) fn quarantine(&self, reason: &str) -> LedgerError {
        match quarantine::move_file(&self.state_dir, &self.path) {
            Ok(moved_to) => LedgerError::Corrupt {
                path: self.path.clone(),
                reason: reason.to_owned(),
                moved_to: Some(moved_to),
            },
            Err(error) => error,
        }
    }

    /// Removes the request from the spool. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub(crate) fn remove(self) -> Result<(), LedgerError> {
        fs::remove_file(&self.path).map_err(LedgerError::io("remove", &self.path))
    }
}

#[cfg(test)]
mod tests;
