//! Retired records: plexusd has stopped retrying their DEL (decision 31). They are kept for
//! inspection, in a limited number and for a limited time: `<state directory>/retired/<file
//! name>.<milliseconds since 1970>`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{LedgerError, dirs};
use crate::clock::unix_ms;

const RETIRED_DIR: &str = "retired";
const MAX_FILES: usize = 1000;
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
    for name in excess(dirs::names(&dir)?, unix_ms()) {
        let path = dir.join(name);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove an old retired record");
        }
    }
    Ok(moved_to)
}

/// The number of retired records. Blocking.
pub(super) fn count(state_dir: &Path) -> Result<usize, LedgerError> {
    Ok(dirs::names(&state_dir.join(RETIRED_DIR))?.len())
}

/// The files to remove: those that are too old, and the oldest ones of those that are too many.
fn excess(names: Vec<String>, now_unix_ms: u64) -> Vec<String> {
    let mut files: Vec<_> = names
        .into_iter()
        .map(|name| (retired_at(&name), name))
        .collect();
    files.sort();
    let too_many = files.len().saturating_sub(MAX_FILES);
    let is_old =
        |retired_at: u64| Duration::from_millis(now_unix_ms.saturating_sub(retired_at)) > MAX_AGE;
    files
        .into_iter()
        .enumerate()
        .filter(|(index, (retired_at, _))| *index < too_many || is_old(*retired_at))
        .map(|(_, (_, name))| name)
        .collect()
}

fn retired_at(name: &str) -> u64 {
    name.rsplit_once('.')
        .and_then(|(_, unix_ms)| unix_ms.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_are_removed_beyond_the_number_and_the_age() {
        let now = u64::try_from(2 * MAX_AGE.as_millis()).expect("a number");
        let file = |age: u64| format!("c{age}:eth0.jsonl.{}", now - age);
        let many: Vec<_> = (0..1002).map(file).collect();
        assert_eq!(excess(many.clone(), now), [file(1001), file(1000)]);
        assert_eq!(excess(many[..1000].to_vec(), now), [""; 0]);
        let limit = u64::try_from(MAX_AGE.as_millis()).expect("a number");
        let aged = vec![file(0), file(limit), file(limit + 1), "other".to_owned()];
        assert_eq!(excess(aged, now), ["other".to_owned(), file(limit + 1)]);
    }
}
