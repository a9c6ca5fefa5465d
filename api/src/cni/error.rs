//! The error object of the specification, and its codes.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{UnsupportedVersion, Version};
use crate::json::LimitError;
use crate::{quote, without_os_codes};

/// The longest message, and the longest details, in bytes.
const MAX_TEXT: usize = 4 << 10;

/// The error codes of Plexus. Codes below 100 have the specification's meaning; those from 100 on
/// are specific to Plexus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Code {
    /// The `cniVersion` is not supported.
    IncompatibleVersion = 1,
    /// A field of the configuration, or its value, is not supported; the message names both.
    UnsupportedField = 2,
    /// The container is unknown and nothing was created, so the runtime need not clean up (P-041).
    UnknownContainer = 3,
    /// A `CNI_*` variable is missing or invalid.
    InvalidEnvironment = 4,
    /// Reading or writing failed.
    Io = 5,
    /// JSON could not be decoded.
    Decode = 6,
    /// The network configuration is invalid.
    InvalidConfig = 7,
    /// A temporary failure: the same call may succeed later.
    TryAgain = 11,
    /// STATUS: ADD cannot be served.
    NotAvailable = 50,
    /// STATUS: ADD cannot be served and existing pods may be degraded.
    LimitedConnectivity = 51,
    /// A bug in Plexus, such as a panic.
    Internal = 100,
    /// A plugin failed without reporting an error code.
    PluginFailed = 101,
    /// A plugin is missing from the plugin directories, or cannot be executed.
    PluginMissing = 102,
    /// The interface already exists, or two attachments of the pod request the same name.
    InterfaceTaken = 103,
    /// The `NetworkAttachmentDefinition` does not exist, or the network has no configuration.
    UnknownNetwork = 104,
    /// A pod annotation cannot be parsed, or requests something impossible.
    InvalidAnnotation = 105,
    /// The node's configuration forbids what the pod requests.
    Forbidden = 106,
    /// This (container, interface) is already attached, or is being attached.
    AlreadyAttached = 107,
    /// CHECK: the sandbox differs from the record, or there is no record.
    CheckFailed = 108,
    /// The sandbox's routes could not be changed.
    RouteFailed = 109,
    /// The ledger could not be read or written.
    Ledger = 110,
    /// The pod has too few devices for its networks, or its devices are not known.
    DeviceMissing = 111,
}

impl Code {
    /// Every code, for the documentation and its test.
    pub const ALL: [Self; 22] = [
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
        Self::DeviceMissing,
    ];
}

/// An error as reported to the runtime.
///
/// The code is a number rather than a [`Code`], because a plugin's code is passed on unchanged
/// (P-043).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct CniError {
    /// The code; 0 if a plugin reported none.
    #[serde(default)]
    pub code: u32,
    /// The message, one line.
    #[serde(default)]
    pub msg: String,
    /// Further details; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl CniError {
    /// Creates an error. Line breaks in `msg` become spaces (P-047). Message and details are cut in
    /// the middle if they are very long; see also [`quote()`].
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self {
            code: code as u32,
            msg: bounded(one_line(msg.into())),
            details: String::new(),
        }
    }

    /// Sets the details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = bounded(without_os_codes(&details.into()).into_owned());
        self
    }

    /// Prefixes the message: `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.msg = bounded(one_line(format!("{context}: {}", self.msg)));
        self
    }

    /// Rewords phrases in the error of a DEL that containerd would treat as success (decision 14,
    /// C-10).
    #[must_use]
    pub fn for_del(mut self) -> Self {
        for (phrase, replacement) in [
            ("no such file or directory", "does not exist"),
            ("not found", "missing"),
        ] {
            self.msg = replace_ignoring_case(&self.msg, phrase, replacement);
            self.details = replace_ignoring_case(&self.details, phrase, replacement);
        }
        self
    }

    /// Appends the code to the message, because runtimes show a message without its code.
    #[must_use]
    pub fn with_code_in_message(mut self) -> Self {
        self.msg = format!("{} (code {})", self.msg, self.code);
        self
    }

    /// Whether the error has this code.
    pub fn is(&self, code: Code) -> bool {
        self.code == code as u32
    }

    /// The JSON document that a plugin prints: `cniVersion`, `code`, `msg`, and `details` if there
    /// are any (P-038).
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
        // Strings and an integer can always be serialized. The fallback is a valid document, too.
        serde_json::to_string(&document)
            .unwrap_or_else(|_| r#"{"code":100,"msg":"internal error"}"#.to_owned())
    }
}

impl From<UnsupportedVersion> for CniError {
    fn from(error: UnsupportedVersion) -> Self {
        Self::new(Code::IncompatibleVersion, error.to_string()).with_details(format!(
            "requested {}, supported {}",
            quote(&error.0),
            Version::list()
        ))
    }
}

impl From<LimitError> for CniError {
    fn from(error: LimitError) -> Self {
        Self::new(Code::Decode, error.to_string())
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

/// Removes the middle of a text that is longer than [`MAX_TEXT`].
fn bounded(text: String) -> String {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let half = MAX_TEXT / 2;
    let start = text.floor_char_boundary(half);
    let end = text.ceil_char_boundary(text.len() - half);
    let removed = end - start;
    format!("{} … ({removed} bytes) … {}", &text[..start], &text[end..])
}

/// The text in one line, without the numbers of errors of the operating system.
fn one_line(text: String) -> String {
    let text = match without_os_codes(&text) {
        Cow::Owned(without) => without,
        Cow::Borrowed(_) => text,
    };
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

/// Replaces all occurrences of `phrase`, which must be lower-case ASCII, in any case.
fn replace_ignoring_case(text: &str, phrase: &str, replacement: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut replaced = String::with_capacity(text.len());
    let mut end = 0;
    for (start, _) in lower.match_indices(phrase) {
        replaced += &text[end..start];
        replaced += replacement;
        end = start + phrase.len();
    }
    replaced + &text[end..]
}
