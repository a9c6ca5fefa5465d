//! Damaged files, kept for inspection: `<state directory>/quarantine/<file name>.<milliseconds
//! since 1970>`.

use std::path::{Path, PathBuf};

use super::{LedgerError, dirs};

pub(super) const QUARANTINE_DIR: &str = "quarantine";

/// Moves a damaged file to the quarantine. Returns its new path. Blocking.
pub(super) fn move_file(state_dir: &Path, path: &Path) -> Result<PathBuf, LedgerError> {
    dirs::move_file(path, &state_dir.join(QUARANTINE_DIR))
}

/// The number of files in the quarantine. Blocking.
pub(super) fn count(state_dir: &Path) -> Result<usize, LedgerError> {
    Ok(dirs::names(&state_dir.join(QUARANTINE_DIR))?.len())
}
