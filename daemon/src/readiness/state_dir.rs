//! Whether the state directory can be written. Without that, ADD fails, but DEL can be served.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::problem::Problem;

/// The size of a block. A full file system may still have space for an empty file.
const PROBE: [u8; 4096] = [0; 4096];

/// The reason why the state directory cannot be written, if it cannot. Creates the directory if it
/// is missing. Writes to it only if `was_writable` is false or the file system seems to be full.
pub(crate) async fn problem(state_dir: PathBuf, was_writable: bool) -> Option<Problem> {
    let check = tokio::task::spawn_blocking(move || {
        if was_writable && has_space(&state_dir) {
            return None;
        }
        write(&state_dir)
            .err()
            .map(|error| describe(&state_dir, &error))
    });
    check.await.unwrap_or_else(|panic| {
        let remedy = "report this as a bug, with the log";
        Some(Problem::new(panic.to_string(), remedy))
    })
}

fn has_space(dir: &Path) -> bool {
    Space::of(dir).is_ok_and(|space| {
        space.free_bytes > 0 && space.free_files != Some(0) && !space.is_read_only
    })
}

/// The space of a file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Space {
    pub(crate) free_bytes: u64,
    /// `None` if the number of files is not limited.
    pub(crate) free_files: Option<u64>,
    pub(crate) is_read_only: bool,
}

impl Space {
    /// The space of the file system of `dir`.
    pub(crate) fn of(dir: &Path) -> io::Result<Self> {
        let stat = statvfs(dir)?;
        Ok(Self {
            free_bytes: stat.f_bfree.saturating_mul(stat.f_frsize),
            free_files: (stat.f_files > 0).then_some(stat.f_ffree),
            is_read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }
}

fn write(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let probe = dir.join(".probe");
    let written = fs::write(&probe, PROBE);
    match fs::remove_file(&probe) {
        // Another plexusd that starts at the same time may have removed the file.
        Err(error) if error.kind() != io::ErrorKind::NotFound => written.and(Err(error)),
        _ => written,
    }
}

fn describe(dir: &Path, error: &io::Error) -> Problem {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space on it",
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable",
        _ => "make it a writable directory",
    };
    let dir = dir.display();
    let text =
        format!("the state directory {dir} (stateDir) cannot be written, so ADD fails: {error}");
    Problem::new(text, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_is_created_and_a_file_in_its_place_is_a_problem() {
        let root = tempfile::tempdir().expect("a directory");
        let dir = root.path().join("new/state");
        for was_writable in [false, true] {
            assert_eq!(problem(dir.clone(), was_writable).await, None);
        }
        let left = fs::read_dir(&dir).expect("the directory").count();
        assert_eq!(left, 0, "the probe is removed");
        let file = root.path().join("file");
        fs::write(&file, "").expect("write");
        let text = problem(file, false).await.expect("a file").text;
        assert!(
            text.contains("/file (stateDir) cannot be written"),
            "{text}"
        );
    }
}
