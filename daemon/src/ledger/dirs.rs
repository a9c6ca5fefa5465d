//! The directories of the ledger, accessible to their owner only.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::LedgerError;
use crate::clock::unix_ms;
use crate::durable::sync_dir;

/// Creates a directory and its parents with mode 0700. A directory that exists keeps its mode.
pub(super) fn create(dir: &Path) -> Result<(), LedgerError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(LedgerError::io("create", dir))
}

/// Moves a file to the directory `dir`, which is created if it is missing, under the name `<file
/// name>.<milliseconds since 1970>`. Returns its new path.
pub(super) fn move_file(path: &Path, dir: &Path) -> Result<PathBuf, LedgerError> {
    create(dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let to = dir.join(format!("{name}.{}", unix_ms()));
    fs::rename(path, &to).map_err(LedgerError::io("move", path))?;
    Ok(to)
}

/// The names in a directory, which may be missing.
pub(super) fn names(dir: &Path) -> Result<Vec<String>, LedgerError> {
    let list = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(LedgerError::io("list", dir)),
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync(dir: &Path) -> Result<(), LedgerError> {
    sync_dir(dir).map_err(LedgerError::io("sync", dir))
}
