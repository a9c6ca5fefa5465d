//! Damaged files, kept for inspection: `<state directory>/quarantine/<file name>.<milliseconds
//! since 1970>`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{LedgerError, dirs};
use crate::clock::unix_ms;

pub(super) const QUARANTINE_DIR: &str = "quarantine";

/// Moves a damaged file to the quarantine. Returns its new path. Blocking.
pub(super) fn move_file(state_dir: &Path, path: &Path) -> Result<PathBuf, LedgerError> {
    let dir = state_dir.join(QUARANTINE_DIR);
    dirs::create(&dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let to = dir.join(format!("{name}.{}", unix_ms()));
    fs::rename(path, &to).map_err(LedgerError::io("quarantine", path))?;
    Ok(to)
}

/// The number of files in the quarantine. Blocking.
pub(super) fn count(state_dir: &Path) -> Result<usize, LedgerError> {
    let dir = state_dir.join(QUARANTINE_DIR);
    match fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        entries => Ok(entries.map_err(LedgerError::io("list", &dir))?.count()),
    }
}
