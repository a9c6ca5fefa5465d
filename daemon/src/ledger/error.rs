//! Errors of the ledger.

use std::io;
use std::path::{Path, PathBuf};

use plexus_api::cni::{NameError, ResultError};

use super::RecordKey;
use super::format::ParseError;
use super::journal::parse_file_name;
use crate::call_limits::WaitError;

/// An error of the ledger. No message says that something is not found: containerd would take that
/// for a successful DEL.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("cannot {action} {}: {}", path.display(), explain(error))]
    Io {
        action: &'static str,
        path: PathBuf,
        error: io::Error,
    },
    /// Another process holds the lock for writing.
    #[error("{} is in use by another plexusd{}; {}", dir.display(),
        holder.map(|pid| format!(" (pid {pid}{})", if *stopped { ", which is stopped" } else { "" })).unwrap_or_default(),
        match holder.filter(|_| *stopped) {
            Some(pid) => format!("continue it with `kill -CONT {pid}`, or end it with `kill -9 {pid}`"),
            None => "stop that plexusd, or use another state directory".to_owned(),
        })]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// The process, if the lock file names one.
        holder: Option<u32>,
        /// Whether that process is stopped by a signal or a debugger.
        stopped: bool,
    },
    /// The lock of a container was not released in time.
    #[error(transparent)]
    Wait(#[from] WaitError),
    #[error("an ADD of container {} interface {} is in progress", key.container_id, key.ifname)]
    InFlight { key: RecordKey },
    #[error(
        "container {} interface {} is already attached; it needs a DEL before another ADD", key.container_id, key.ifname
    )]
    AlreadyAttached { key: RecordKey },
    /// There is nothing to abandon.
    #[error("container {container_id}{} has no record; `plexusd ledger list` shows all records",
        ifname.as_ref().map(|name| format!(" interface {name}")).unwrap_or_default())]
    NoRecord {
        container_id: String,
        /// The interface, if only one was requested.
        ifname: Option<String>,
    },
    /// A damaged file. The holder of the container lock moves the file to the quarantine and can
    /// then continue without it.
    #[error("{} cannot be read: {reason}{}", path.display(),
        moved_to.as_ref().map(|to| format!("; it was moved to {}", to.display())).unwrap_or_default())]
    Corrupt {
        path: PathBuf,
        reason: String,
        /// The path in the quarantine; `None` if the file was only read.
        moved_to: Option<PathBuf>,
    },
    /// A newer plexusd wrote the record. The file is left as it is.
    #[error("{} cannot be read: {reason}", path.display())]
    Newer { path: PathBuf, reason: ParseError },
    /// The container ID or the interface name is invalid.
    #[error(transparent)]
    InvalidKey(#[from] NameError),
}

impl LedgerError {
    /// Whether a damaged record was moved to the quarantine, so that the caller can continue
    /// without it (P-090).
    pub(crate) fn is_quarantined(&self) -> bool {
        matches!(
            self,
            Self::Corrupt {
                moved_to: Some(_),
                ..
            }
        )
    }

    /// The record that cannot be read, if the error is about one.
    pub(crate) fn key(&self) -> Option<RecordKey> {
        match self {
            Self::Corrupt { path, .. } | Self::Newer { path, .. } | Self::Io { path, .. } => {
                parse_file_name(path.file_name()?.to_str()?)
            }
            _ => None,
        }
    }

    /// Whether the file system is full or read-only.
    pub(crate) fn is_unwritable(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let kinds = [QuotaExceeded, ReadOnlyFilesystem, StorageFull];
        matches!(self, Self::Io { error, .. } if kinds.contains(&error.kind()))
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io {
            action,
            path: path.to_owned(),
            error,
        }
    }
}

/// Why a record has no usable `prevResult` for an attachment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PreviousResultError {
    #[error("the record has no ADD result")]
    Missing,
    #[error("the recorded ADD result cannot be used: {0}")]
    Unusable(#[from] ResultError),
}

/// The message of an I/O error, with a remedy for the common ones.
fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "the path is missing".to_owned(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("{error}; free space on that file system")
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("{error}; mount it writable"),
        io::ErrorKind::PermissionDenied => {
            format!("{error}; run as the user that owns the state directory")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
