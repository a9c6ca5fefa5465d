//! The directories of the ledger, accessible to their owner only.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::LedgerError;
use crate::clock::unix_ms;
use crate::durable::sync_dir;

/// The number of moved files that a directory keeps.
const MAX_MOVED: usize = 1000;

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

/// Removes files that [`move_file`] has moved to `dir`: those that are too old, and the oldest ones
/// of those that are too many. Errors are only logged.
pub(super) fn remove_old(dir: &Path, max_age: Option<Duration>) {
    let names = names(dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "old files are not removed");
        Vec::new()
    });
    for name in excess(names, unix_ms(), max_age) {
        let path = dir.join(name);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove an old file");
        }
    }
}

/// The names without a time are those of other programs, and are not counted.
fn excess(names: Vec<String>, now_unix_ms: u64, max_age: Option<Duration>) -> Vec<String> {
    let moved_at = |name: &str| name.rsplit_once('.')?.1.parse::<u64>().ok();
    let mut files: Vec<_> = names
        .into_iter()
        .filter_map(|name| Some((moved_at(&name)?, name)))
        .collect();
    files.sort();
    let too_many = files.len().saturating_sub(MAX_MOVED);
    let is_old = |moved_at: u64| {
        let age = Duration::from_millis(now_unix_ms.saturating_sub(moved_at));
        max_age.is_some_and(|max_age| age > max_age)
    };
    files
        .into_iter()
        .enumerate()
        .filter(|(index, (moved_at, _))| *index < too_many || is_old(*moved_at))
        .map(|(_, (_, name))| name)
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_are_removed_beyond_the_number_and_the_age() {
        const AGE: Duration = Duration::from_hours(1);
        let limit = u64::try_from(AGE.as_millis()).expect("a number");
        let now = 2 * limit;
        let file = |age: u64| format!("c{age}:eth0.jsonl.{}", now - age);
        let many: Vec<_> = (0..1002).map(file).collect();
        for max_age in [None, Some(AGE)] {
            let removed = excess(many.clone(), now, max_age);
            assert_eq!(removed, [file(1001), file(1000)]);
            assert_eq!(excess(many[..1000].to_vec(), now, max_age), [""; 0]);
        }
        let foreign = ["other", "c1:eth0.jsonl"].map(str::to_owned);
        let mut aged = vec![file(0), file(limit), file(limit + 1)];
        aged.extend(foreign);
        assert_eq!(excess(aged.clone(), now, Some(AGE)), [file(limit + 1)]);
        assert_eq!(excess(aged, now, None), [""; 0]);
    }
}
