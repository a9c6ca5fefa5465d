//! Problems of the node, as administrators see them.

use std::fmt::{self, Display, Formatter};

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

/// One line, for logs and `/readyz`.
impl Display for Problem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.text, self.remedy)
    }
}
