//! The error object of the specification, and its codes.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Version;

/// The codes that Plexus itself answers: those of the specification with their meaning there, its own from 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Code {
    /// The `cniVersion` is not supported.
    IncompatibleVersion = 1,
    /// A field of the configuration, or its value, is not supported; the message has both.
    UnsupportedField = 2,
    /// The container is unknown and nothing was made for it: the runtime need not clean up (P-041).
    UnknownContainer = 3,
    /// A `CNI_*` variable is missing or wrong.
    InvalidEnvironment = 4,
    /// Reading or writing failed.
    Io = 5,
    /// JSON could not be decoded.
    Decode = 6,
    /// The network configuration is wrong.
    InvalidConfig = 7,
    /// A passing condition; the same call may succeed later.
    TryAgain = 11,
    /// STATUS: ADD cannot be served.
    NotAvailable = 50,
    /// STATUS: ADD cannot be served and existing pods may be degraded.
    LimitedConnectivity = 51,
    /// A defect of Plexus: it panicked.
    Internal = 100,
    /// A plugin failed without a code of its own.
    PluginFailed = 101,
    /// A plugin is not in the bin directories, or cannot be executed.
    PluginMissing = 102,
    /// The interface is already there, or two attachments of the pod ask for one name.
    InterfaceTaken = 103,
    /// The network-attachment-definition does not exist, or a network has no configuration.
    UnknownNetwork = 104,
    /// An annotation of the pod cannot be read or asks for what cannot be.
    InvalidAnnotation = 105,
    /// The node's configuration does not allow what the pod asks for.
    Forbidden = 106,
    /// This (container, interface) is already attached, or is being attached.
    AlreadyAttached = 107,
    /// CHECK: what the record says is no longer so, or there is no record.
    CheckFailed = 108,
    /// The routes of the sandbox could not be changed.
    RouteFailed = 109,
    /// The ledger could not be read or written.
    Ledger = 110,
}

impl Code {
    /// Every code of ours, for the documentation and its test.
    pub const ALL: [Self; 21] = [
        Self::IncompatibleVersion,
        Self::UnsupportedField,
        Self::UnknownContainer,
        Self::InvalidEnvironment,
        Self::Io,
        Self::Decode,
        Self::InvalidConfig,
        Self::TryAgain,
        Self::NotAvailable,
        Self::LimitedConnectivity,
        Self::Internal,
        Self::PluginFailed,
        Self::PluginMissing,
        Self::InterfaceTaken,
        Self::UnknownNetwork,
        Self::InvalidAnnotation,
        Self::Forbidden,
        Self::AlreadyAttached,
        Self::CheckFailed,
        Self::RouteFailed,
        Self::Ledger,
    ];
}

/// An error as it goes to the runtime: a code, one line of message, and details where there are any.
///
/// The code is a number and not a [`Code`], because a plugin's own code passes through unchanged (P-043).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct CniError {
    /// The code; 0 where a plugin gave none.
    #[serde(default)]
    pub code: u32,
    /// What happened, in one line.
    #[serde(default)]
    pub msg: String,
    /// More about it; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// An error with a code of ours. Line breaks in `msg` become spaces: the message is one line (P-047).
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self {
            code: code as u32,
            msg: one_line(msg.into()),
            details: String::new(),
        }
    }

    /// The same error with details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The same error with `context` before its message: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.msg = one_line(format!("{context}: {}", self.msg));
        self
    }

    /// The same error in words that a runtime does not take for a success: containerd holds a DEL that failed with one of
    /// these phrases for done (decision 14, C-10).
    #[must_use]
    pub fn for_del(mut self) -> Self {
        for (phrase, instead) in [
            ("no such file or directory", "does not exist"),
            ("not found", "missing"),
        ] {
            self.msg = replace_any_case(&self.msg, phrase, instead);
            self.details = replace_any_case(&self.details, phrase, instead);
        }
        self
    }

    /// Whether this is the error that `code` names.
    pub fn is(&self, code: Code) -> bool {
        self.code == code as u32
    }

    /// The JSON document that a plugin prints: `cniVersion`, `code`, `msg`, and `details` when there are any (P-038).
    pub fn to_document(&self, version: Version) -> String {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(rename = "cniVersion")]
            cni_version: Version,
            #[serde(flatten)]
            error: &'a CniError,
        }
        let document = Document {
            cni_version: version,
            error: self,
        };
        // Strings and one integer always serialise; the fallback keeps the promise of one document all the same.
        serde_json::to_string(&document)
            .unwrap_or_else(|_| r#"{"code":100,"msg":"internal error"}"#.to_owned())
    }
}

impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.msg, self.code)?;
        if self.details.is_empty() {
            Ok(())
        } else {
            write!(f, "; {}", self.details)
        }
    }
}

fn one_line(text: String) -> String {
    if text.contains(['\n', '\r']) {
        text.split(['\n', '\r'])
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    } else {
        text
    }
}

/// Replaces the ASCII `phrase`, given in lower case.
fn replace_any_case(text: &str, phrase: &str, instead: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut replaced = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in lower.match_indices(phrase) {
        replaced += &text[done..at];
        replaced += instead;
        done = at + phrase.len();
    }
    replaced + &text[done..]
}
