//! Reads of `/proc` that tolerate exiting processes.

use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::libc;

/// The entries of a directory whose names are numbers: processes in `/proc`, threads in
/// `/proc/PID/task`.
pub(super) fn numbered_entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .iter()
            .all(u8::is_ascii_digit)
        {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Returns `None` if the error means that the task has exited: its directory is missing, a file
/// that was already open returns `ESRCH`, and the mount table of a zombie returns `EINVAL`.
pub(super) fn none_if_exited<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => Ok(None),
        Err(error) => Err(error),
    }
}
