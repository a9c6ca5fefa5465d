//! What can go wrong with the ledger.

use std::io;
use std::path::{Path, PathBuf};

use plexus_api::cni::{CniError, Code, NameError};

use super::record::ParseError;

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The file system refused.
    #[error("cannot {action} {}: {}", path.display(), reason(why))]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The answer.
        why: io::Error,
    },
    /// Another process writes the ledger.
    #[error("{} is in use by another plexusd{}; {}", dir.display(),
        holder.map(|pid| format!(" (pid {pid}{})", if *stopped { ", which is stopped" } else { "" })).unwrap_or_default(),
        match holder.filter(|_| *stopped) {
            Some(pid) => format!("`kill -CONT {pid}` lets it go on, `kill -9 {pid}` ends it"),
            None => "stop that one, or give this one another state directory".to_owned(),
        })]
    Locked {
        /// The state directory.
        dir: PathBuf,
        /// The process, where its lock file says so.
        holder: Option<u32>,
        /// Whether a signal or a debugger has stopped that process.
        stopped: bool,
    },
    /// An ADD of the same (container, interface) has not ended yet.
    #[error("an ADD of container {container_id} interface {ifname} is going on")]
    InFlight {
        /// `CNI_CONTAINERID`.
        container_id: String,
        /// `CNI_IFNAME`.
        ifname: String,
    },
    /// This (container, interface) has a record.
    #[error(
        "container {container_id} interface {ifname} is attached already; it needs a DEL before another ADD"
    )]
    AlreadyAttached {
        /// `CNI_CONTAINERID`.
        container_id: String,
        /// `CNI_IFNAME`.
        ifname: String,
    },
    /// There is no such record.
    #[error("container {container_id}{} has no record; `plexusd ledger list` shows those that there are",
        ifname.as_ref().map(|name| format!(" interface {name}")).unwrap_or_default())]
    Unknown {
        /// The container.
        container_id: String,
        /// The interface, where one was asked for.
        ifname: Option<String>,
    },
    /// A record that cannot be read. Whoever holds the lane has moved it out of the way and can go on with what else
    /// is known.
    #[error("{} cannot be read: {why}{}", path.display(),
        moved_to.as_ref().map(|to| format!("; it is kept as {}", to.display())).unwrap_or_default())]
    Corrupt {
        /// Where it was.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// Where it is now; none where it was only read.
        moved_to: Option<PathBuf>,
    },
    /// A record of a newer plexusd. It is left as it is.
    #[error("{} cannot be read: {why}", path.display())]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// What it needs.
        why: ParseError,
    },
    /// The container ID or the interface name is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl LedgerError {
    /// Whether a record could not be read and is out of the way now, so that work can go on without it (P-090).
    pub(crate) fn is_quarantined(&self) -> bool {
        matches!(
            self,
            Self::Corrupt {
                moved_to: Some(_),
                ..
            }
        )
    }

    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::Io {
            action,
            path: path.to_owned(),
            why,
        }
    }
}

impl From<LedgerError> for CniError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Name(error) => error.into(),
            LedgerError::InFlight { .. } | LedgerError::AlreadyAttached { .. } => {
                Self::new(Code::AlreadyAttached, error.to_string())
            }
            _ => Self::new(Code::Ledger, format!("ledger: {error}")),
        }
    }
}

/// The answer of the file system, with what to do about it. It never reads like a missing container, which runtimes
/// take for a successful DEL.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "it is missing".to_owned(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("{error}; free space there")
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("{error}; it must be mounted writable"),
        io::ErrorKind::PermissionDenied => {
            format!("{error}; only the user that owns the state directory may")
        }
        _ => error.to_string(),
    }
}
