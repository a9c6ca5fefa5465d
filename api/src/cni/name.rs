//! Validation of the names in CNI calls, which become part of file names, paths and kernel calls.

use super::{CniError, Code};
use crate::quote;

/// The longest container ID, in bytes: the ID is part of a file name in the ledger (P-007).
const MAX_CONTAINER_ID: usize = 200;
/// The longest interface name, in bytes: the kernel's `IFNAMSIZ` without the final NUL.
const MAX_IFNAME: usize = 15;
/// The longest pod name, in bytes.
const MAX_POD_NAME: usize = 253;
/// The longest name of a network or a plugin, in bytes: both are names of files.
const MAX_FILE_NAME: usize = 255;

/// An invalid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A container ID.
    #[error("CNI_CONTAINERID {} {reason}", quote(.id))]
    ContainerId {
        /// The ID.
        id: String,
        /// The reason, as a predicate: `is empty`.
        reason: &'static str,
    },
    /// A network's name.
    #[error(
        "network name {} is invalid; use at most {MAX_FILE_NAME} letters, digits, '_', '.', '-', starting with a \
         letter or digit", quote(.0)
    )]
    Network(String),
    /// An interface name.
    #[error("interface name {} {reason}", quote(.name))]
    Interface {
        /// The name.
        name: String,
        /// The reason, as a predicate: `is empty`.
        reason: &'static str,
    },
    /// An item of `CNI_ARGS` that identifies the pod.
    #[error(
        "CNI_ARGS item {key} is {}; expected at most {MAX_POD_NAME} letters, digits, '_', '.', '-', starting \
         with a letter or digit", quote(.value)
    )]
    PodArgument {
        /// The item's key.
        key: String,
        /// Its value.
        value: String,
    },
    /// The `type` of a plugin.
    #[error("plugin type {} must be a file name without a path", quote(.0))]
    PluginType(String),
}

impl From<NameError> for CniError {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::ContainerId { .. }
            | NameError::Interface { .. }
            | NameError::PodArgument { .. } => Code::InvalidEnvironment,
            NameError::Network(_) | NameError::PluginType(_) => Code::InvalidConfig,
        };
        Self::new(code, error.to_string())
    }
}

/// Checks a container ID: an ASCII letter or digit, then letters, digits, `_`, `.`, `-` (P-006).
pub fn validate_container_id(id: &str) -> Result<(), NameError> {
    let reason = if !is_identifier(id) {
        "must be letters, digits, '_', '.', '-', starting with a letter or digit"
    } else if id.len() > MAX_CONTAINER_ID {
        "is longer than 200 bytes"
    } else {
        return Ok(());
    };
    Err(NameError::ContainerId {
        id: id.to_owned(),
        reason,
    })
}

/// Checks a network's name, which has the form of a container ID (P-032, R-002). Plugins keep their
/// state in files of that name.
pub fn validate_network_name(name: &str) -> Result<(), NameError> {
    if is_identifier(name) && name.len() <= MAX_FILE_NAME {
        Ok(())
    } else {
        Err(NameError::Network(name.to_owned()))
    }
}

/// Checks an interface name: 1 to 15 bytes, not `.` or `..`, no `/`, `:`, white space or control
/// character (P-008), no `%`, which the kernel treats as a numbering template (P-009), and no
/// replacement character, which stands for bytes that were not UTF-8.
pub fn validate_ifname(name: &str) -> Result<(), NameError> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > MAX_IFNAME {
        "is longer than 15 bytes"
    } else if name == "." || name == ".." {
        "is a directory name"
    } else if name.contains(['/', ':', '%']) {
        "contains '/', ':' or '%'"
    } else if name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        "contains white space or a control character"
    } else if name.contains(char::REPLACEMENT_CHARACTER) {
        "is not UTF-8"
    } else {
        return Ok(());
    };
    Err(NameError::Interface {
        name: name.to_owned(),
        reason,
    })
}

/// Checks an item of `CNI_ARGS` if it is the pod's name, namespace or UID, which end up in paths,
/// requests and logs. Other items are always valid.
///
/// The rule is looser than the Kubernetes rule: without an API server, clients of the runtime such
/// as `critest` give pods names that Kubernetes would refuse.
pub fn validate_pod_argument(key: &str, value: &str) -> Result<(), NameError> {
    let is_about_pod = ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID"].contains(&key);
    if !is_about_pod || (value.len() <= MAX_POD_NAME && is_identifier(value)) {
        return Ok(());
    }
    Err(NameError::PodArgument {
        key: key.to_owned(),
        value: value.to_owned(),
    })
}

/// Checks the `type` of a plugin, which is a file name in a plugin directory and must not lead out
/// of that directory. A replacement character stands for text that was not valid.
pub fn validate_plugin_type(kind: &str) -> Result<(), NameError> {
    const INVALID: [char; 4] = ['/', '\\', '\0', char::REPLACEMENT_CHARACTER];
    if kind.is_empty()
        || kind == "."
        || kind == ".."
        || kind.len() > MAX_FILE_NAME
        || kind.contains(INVALID)
    {
        Err(NameError::PluginType(kind.to_owned()))
    } else {
        Ok(())
    }
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
