//! The DELs that came while the daemon was away. The shim leaves each as one file, `<state directory>/spool/*.json`;
//! the daemon works them off.

use std::path::{Path, PathBuf};
use std::{fs, io};

use plexus_api::wire::{Request, SPOOL_DIR};

use super::LedgerError;
use super::journal::quarantine;

/// A request in the spool.
#[derive(Debug)]
pub(crate) struct Spooled {
    state_dir: PathBuf,
    path: PathBuf,
}

/// The requests in the spool of a state directory, by file name. What a shim was writing when it was killed is removed:
/// its caller was told of no success. Blocking.
///
/// # Errors
/// [`LedgerError::Io`] where the spool is there and cannot be read.
pub(super) fn pending(state_dir: &Path) -> Result<Vec<Spooled>, LedgerError> {
    let mut paths = all(state_dir)?;
    for path in paths.iter().filter(|path| is_abandoned(path)) {
        fs::remove_file(path).map_err(LedgerError::io("remove", path))?;
    }
    paths.retain(|path| is_request(path));
    Ok(paths
        .into_iter()
        .map(|path| Spooled {
            state_dir: state_dir.to_owned(),
            path,
        })
        .collect())
}

/// The files of the requests. Blocking.
pub(super) fn files(state_dir: &Path) -> Result<Vec<PathBuf>, LedgerError> {
    let mut paths = all(state_dir)?;
    paths.retain(|path| is_request(path));
    Ok(paths)
}

fn all(state_dir: &Path) -> Result<Vec<PathBuf>, LedgerError> {
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

/// The shim writes under another name first.
fn is_request(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

/// Whether a file is the unfinished one, `.<container id>:<interface>.<pid>`, of a shim that runs no more.
fn is_abandoned(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let pid = name
        .strip_prefix('.')
        .and_then(|name| name.rsplit_once('.'))
        .and_then(|(_, pid)| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

impl Spooled {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The request. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] where the file is none; it has been moved to the quarantine by then.
    pub(crate) fn read(&self) -> Result<Request, LedgerError> {
        let bytes = fs::read(&self.path).map_err(LedgerError::io("read", &self.path))?;
        serde_json::from_slice(&bytes).map_err(|error| {
            match quarantine(&self.state_dir, &self.path) {
                Ok(moved_to) => LedgerError::Corrupt {
                    path: self.path.clone(),
                    why: format!("it is not a request: {error}"),
                    moved_to: Some(moved_to),
                },
                Err(error) => error,
            }
        })
    }

    /// Removes the request: it is done. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub(crate) fn done(self) -> Result<(), LedgerError> {
        fs::remove_file(&self.path).map_err(LedgerError::io("remove", &self.path))
    }
}

#[cfg(test)]
mod tests;
