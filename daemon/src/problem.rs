//! Problems of the node, as administrators see them.

use std::fmt::{self, Display, Formatter};
use std::io;

use plexus_api::without_os_codes;
use serde::{Deserialize, Serialize};

/// What is wrong, and what to do about that. Both are one line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// The problem with its cause, without the remedy.
    pub(crate) text: String,
    /// What an administrator does, or waits for.
    pub(crate) remedy: String,
}

impl Problem {
    pub(crate) fn new(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            text: without_os_codes(&text.into()).into_owned(),
            remedy: remedy.into(),
        }
    }
}

/// What to do if a file in a directory cannot be created, replaced or removed. `dir` names the
/// directory, for example `the directory (shimDir)`.
pub(crate) fn remedy_for_dir(dir: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("create or mount {dir}"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("free space on the file system of {dir}")
        }
        io::ErrorKind::ReadOnlyFilesystem => format!("mount the file system of {dir} writable"),
        io::ErrorKind::IsADirectory => "remove the directory that has this name".to_owned(),
        // The directory itself, or one above it.
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            format!("remove the file that is in place of {dir}")
        }
        _ => format!("make {dir} writable"),
    }
}

/// One line, for logs and `/readyz`.
impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.text, self.remedy)
    }
}
