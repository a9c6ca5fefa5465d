//! Device-info files. Blocking.
//!
//! Device plugins and CNI plugins write to the two directories, so nothing in there is trusted:
//! links are not followed, neither at the file nor at its directory (D-017).

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;
use serde_json::value::RawValue;

use super::{DeviceInfoError, MAX_SIZE, document};
use crate::regular_file;

/// Files and directories are for all users to read.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);
const DIR_MODE: u32 = 0o755;

/// Makes the directory of `file`, removes an earlier file, and copies `source` to `file`, if
/// `source` exists.
pub(super) fn prepare(file: &Path, source: Option<&Path>) -> Result<(), DeviceInfoError> {
    let failed = |error| DeviceInfoError::new(file, error);
    let dir = make_dir(file).map_err(failed)?;
    match unlink(&dir, file) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(failed(error.into())),
    }
    let Some(source) = source else {
        return Ok(());
    };
    let Some(document) = read(source)? else {
        return Ok(());
    };
    create(&dir, file, document.get().as_bytes()).map_err(|error| {
        let _ = unlink(&dir, file);
        failed(error)
    })
}

/// Reads a document. Returns `None` if there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Box<RawValue>>, DeviceInfoError> {
    match read_bytes(path) {
        Ok(bytes) => document::parse(&bytes)
            .map(Some)
            .map_err(|error| DeviceInfoError::new(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DeviceInfoError::new(path, error)),
    }
}

/// Removes a file, if present.
pub(super) fn remove(path: &Path) -> Result<(), DeviceInfoError> {
    let removed = open_dir(path).and_then(|dir| unlink(&dir, path));
    match removed {
        // No file, or another program has replaced the file or its directory.
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR) => Ok(()),
        Err(error) => Err(DeviceInfoError::new(path, explain(error))),
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let dir = open_dir(path)?;
    // Opening a FIFO must not block.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = open_file(&dir, path, flags)?;
    regular_file::read_opened(&file, MAX_SIZE as u64)
}

fn create(dir: &OwnedFd, path: &Path, bytes: &[u8]) -> io::Result<()> {
    open_file(dir, path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?.write_all(bytes)
}

fn open_file(dir: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(dir, file_name(path), flags, FILE_MODE) {
        Ok(file) => Ok(file.into()),
        Err(Errno::LOOP) => Err(io::Error::other("the file is a symbolic link")),
        Err(error) => Err(error.into()),
    }
}

/// Removes the file.
///
/// # Errors
/// [`Errno::NOENT`] if there is no file, also on a read-only file system, where the kernel refuses
/// before it looks for the file.
fn unlink(dir: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let name = file_name(path);
    let removed = unlinkat(dir, name, AtFlags::empty());
    if removed == Err(Errno::ROFS) {
        statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    removed
}

/// The error, with a remedy for the common one.
fn explain(error: Errno) -> io::Error {
    let error = io::Error::from(error);
    match error.kind() {
        kind @ io::ErrorKind::ReadOnlyFilesystem => {
            io::Error::new(kind, format!("{error}; mount it writable"))
        }
        _ => error,
    }
}

/// Opens the directory of `path`, and creates it if it is missing (D-003).
fn make_dir(path: &Path) -> io::Result<OwnedFd> {
    match open_dir(path) {
        Err(Errno::NOENT) => {}
        opened => return Ok(opened?),
    }
    let (parent, dir) = parents(path);
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(parent)?;
    match mkdirat(CWD, dir, Mode::from_raw_mode(DIR_MODE)) {
        Err(error) if error != Errno::EXIST => Err(error.into()),
        _ => Ok(open_dir(path)?),
    }
}

/// Opens the directory of `path`, which must not be a link. Its parents may be links: `/var/run`
/// usually is.
fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (_, dir) = parents(path);
    openat(CWD, dir, flags, Mode::empty())
}

/// The directory of a file, and the parent of that directory.
fn parents(path: &Path) -> (&Path, &Path) {
    let dir = path.parent().unwrap_or(path);
    (dir.parent().unwrap_or(dir), dir)
}

fn file_name(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

#[cfg(test)]
mod tests;
