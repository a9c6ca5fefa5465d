//! Damaged files, kept for inspection in a limited number: `<state directory>/quarantine/<file name>.<milliseconds
//! since 1970>`.

use std::path::{Path, PathBuf};

use super::{LedgerError, dirs};

pub(super) const QUARANTINE_DIR: &str = "quarantine";

/// Moves a damaged file to the quarantine, and removes old ones. Returns its new path. Blocking.
pub(super) fn move_file(state_dir: &Path, path: &Path) -> Result<PathBuf, LedgerError> {
    let dir = state_dir.join(QUARANTINE_DIR);
    let moved_to = dirs::move_file(path, &dir)?;
    dirs::remove_old(&dir, None);
    Ok(moved_to)
}

/// The number of files in the quarantine. Blocking.
pub(super) fn count(state_dir: &Path) -> Result<usize, LedgerError> {
    Ok(dirs::names(&state_dir.join(QUARANTINE_DIR))?.len())
}
