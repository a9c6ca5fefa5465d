//! The network-status of a pod in a file beside the manifests:
//! `DIR/<namespace>.<name>.network-status.json`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::atomic_file::AtomicFile;
use crate::regular_file;

/// The end of the name of every such file.
pub(super) const STATUS_SUFFIX: &str = ".network-status.json";
/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 16 << 20;

/// Replaces the network-status of a pod. Blocking.
///
/// # Errors
/// The file cannot be written, or a name cannot be part of a file name.
pub(crate) fn write_status(
    dir: &Path,
    pod_namespace: &str,
    pod_name: &str,
    text: &str,
) -> io::Result<()> {
    let path = status_path(dir, pod_namespace, pod_name)?;
    AtomicFile::new(&path, 0o644)
        .shared()
        .write(text.as_bytes())
}

/// The network-status of a pod. Returns `None` if the file is missing or cannot be read. Blocking.
pub(crate) fn read_status(dir: &Path, pod_namespace: &str, pod_name: &str) -> Option<String> {
    let path = status_path(dir, pod_namespace, pod_name).ok()?;
    let bytes = regular_file::read(&path, MAX_SIZE).ok()?;
    String::from_utf8(bytes).ok()
}

/// Removes the network-status of a pod if the file exists and, if `text` is given, has that
/// content. Blocking.
///
/// # Errors
/// The file exists and cannot be removed, or a name cannot be part of a file name.
pub(crate) fn remove_status(
    dir: &Path,
    pod_namespace: &str,
    pod_name: &str,
    text: Option<&str>,
) -> io::Result<()> {
    let path = status_path(dir, pod_namespace, pod_name)?;
    let removed = match regular_file::read(&path, MAX_SIZE) {
        Ok(content) if text.is_some_and(|text| content != text.as_bytes()) => return Ok(()),
        Ok(_) => fs::remove_file(&path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn status_path(dir: &Path, pod_namespace: &str, pod_name: &str) -> io::Result<PathBuf> {
    if let Some(invalid) = [pod_namespace, pod_name]
        .into_iter()
        .find(|name| name.is_empty() || name.contains(['/', '\0']))
    {
        let msg = format!("{invalid:?} is not the name of a pod or a namespace");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, msg));
    }
    Ok(dir.join(format!("{pod_namespace}.{pod_name}{STATUS_SUFFIX}")))
}
