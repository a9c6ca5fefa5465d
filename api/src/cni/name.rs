//! The names of the specification, which end up in file names, in kernel calls and in paths.

use super::{CniError, Code};

/// The longest container id that is accepted: it is part of a file name in the ledger (P-007).
const MAX_CONTAINER_ID: usize = 200;
/// The longest interface name, in bytes: the kernel's `IFNAMSIZ` less the closing zero.
const MAX_IFNAME: usize = 15;

/// The longest name of a pod.
const MAX_POD_NAME: usize = 253;
/// The longest wrong value that a message repeats, in characters.
const MAX_SHOWN: usize = 60;

/// Checks a container id: an ASCII letter or digit, then letters, digits, `_`, `.`, `-` (P-006).
///
/// # Errors
/// [`Code::InvalidEnvironment`], which names `CNI_CONTAINERID`.
pub fn validate_container_id(id: &str) -> Result<(), CniError> {
    let wrong = |why: &str| {
        Err(CniError::new(
            Code::InvalidEnvironment,
            format!("CNI_CONTAINERID {id:?} {why}"),
        ))
    };
    if !is_identifier(id) {
        return wrong("must be letters, digits, '_', '.', '-', the first a letter or digit");
    }
    if id.len() > MAX_CONTAINER_ID {
        return wrong("is longer than 200 bytes");
    }
    Ok(())
}

/// Checks a network name, which has the form of a container id (P-032, R-002).
///
/// # Errors
/// [`Code::InvalidConfig`], with the name.
pub fn validate_network_name(name: &str) -> Result<(), CniError> {
    if is_identifier(name) {
        return Ok(());
    }
    let msg = format!(
        "network name {name:?} is not valid; it must be letters, digits, '_', '.', '-', the first a letter or digit"
    );
    Err(CniError::new(Code::InvalidConfig, msg))
}

/// Checks an interface name: 1 to 15 bytes, not `.` or `..`, no `/`, `:`, white space or control character (P-008),
/// no `%`, which the kernel takes for a numbering template (P-009), and not what stands for bytes that were not UTF-8.
///
/// # Errors
/// [`Code::InvalidEnvironment`], with the name and the reason; callers that got the name from an annotation
/// change the code.
pub fn validate_ifname(name: &str) -> Result<(), CniError> {
    let why = if name.is_empty() {
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
    Err(CniError::new(
        Code::InvalidEnvironment,
        format!("interface name {name:?} {why}"),
    ))
}

/// Checks what an item of `CNI_ARGS` says of the pod: its name, its namespace and its UID end up in paths, in requests
/// and in logs. Other keys are not of interest. Where no API server has to know the pod, the runtime's client may have
/// given it a name that Kubernetes would refuse, as `critest` does.
///
/// # Errors
/// [`Code::InvalidEnvironment`], with the item.
pub fn validate_pod_argument(key: &str, value: &str) -> Result<(), CniError> {
    let is_pods = ["K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID"].contains(&key);
    if !is_pods || (value.len() <= MAX_POD_NAME && is_identifier(value)) {
        return Ok(());
    }
    let start: String = value.chars().take(MAX_SHOWN).collect();
    let msg = format!(
        "CNI_ARGS item {key} has {start:?}, which no pod can have; it must be up to {MAX_POD_NAME} letters, digits, '_', \
         '.', '-', the first a letter or digit"
    );
    Err(CniError::new(Code::InvalidEnvironment, msg))
}

/// Checks the `type` of a plugin, which names a file in a bin directory and must not lead out of it.
///
/// # Errors
/// [`Code::InvalidConfig`], with the type.
pub fn validate_plugin_type(kind: &str) -> Result<(), CniError> {
    if kind.is_empty() || kind == "." || kind == ".." || kind.contains(['/', '\\', '\0']) {
        let msg = format!("plugin type {kind:?} must be the name of a file, without a path");
        return Err(CniError::new(Code::InvalidConfig, msg));
    }
    Ok(())
}

fn is_identifier(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
