//! Retired records: plexusd has stopped retrying their DEL (decision 31). They are kept for
//! inspection, in a limited number and for a limited time: `<state directory>/retired/<file
//! name>.<milliseconds since 1970>`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::journal::MAX_SIZE;
use super::{LedgerError, Record, dirs};
use crate::regular_file;

const RETIRED_DIR: &str = "retired";
const MAX_AGE: Duration = Duration::from_hours(30 * 24);

/// Moves the file of a record to the retired records, and removes old ones. Returns its new path.
/// Blocking.
pub(super) fn move_file(state_dir: &Path, path: &Path) -> Result<PathBuf, LedgerError> {
    let dir = state_dir.join(RETIRED_DIR);
    dirs::create(&dir)?;
    dirs::sync(state_dir)?;
    let moved_to = dirs::move_file(path, &dir)?;
    if let Err(error) = dirs::sync(&dir) {
        tracing::warn!(%error, "a retired record may be retried after a power loss");
    }
    dirs::remove_old(&dir, Some(MAX_AGE));
    Ok(moved_to)
}

/// The retired records that can be read. Blocking, and so is each step of the iterator.
pub(super) fn records(state_dir: &Path) -> Result<impl Iterator<Item = Record>, LedgerError> {
    let dir = state_dir.join(RETIRED_DIR);
    let names = dirs::names(&dir)?;
    Ok(names.into_iter().filter_map(move |name| {
        let bytes = regular_file::read(&dir.join(name), MAX_SIZE).ok()?;
        Record::parse(&bytes).ok().flatten()
    }))
}

/// The number of retired records. Blocking.
pub(super) fn count(state_dir: &Path) -> Result<usize, LedgerError> {
    Ok(dirs::names(&state_dir.join(RETIRED_DIR))?.len())
}
