//! The configuration keys for the installation on the node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::wire::{SOCKET_DIR, SOCKET_NAME};

use super::fields::{Fields, FieldsError};

/// The runtime's network configuration that Plexus publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishSettings {
    /// `cniConfigDir`: the runtime's configuration directory.
    pub dir: PathBuf,
    /// `overrideNetworkName`: whether the list has the name of the default network.
    pub override_name: bool,
}

/// The longest path of a socket, in bytes: `sun_path` has 108, of which one is the NUL.
const MAX_SOCKET_PATH: usize = 107;
/// The longest directory of a socket, in bytes. While plexusd binds the socket, its name has a full
/// stop in front and a process ID of up to seven digits behind it.
pub(crate) const MAX_SOCKET_DIR: usize =
    MAX_SOCKET_PATH - "/.".len() - SOCKET_NAME.len() - ".4194304".len();

/// `multusMasterCNI`.
pub(super) fn master_cni(fields: &Fields) -> Result<Option<String>, FieldsError> {
    const KEY: &str = "multusMasterCNI";
    let Some(name) = fields.string(KEY)? else {
        return Ok(None);
    };
    if name.contains('/') || fields.string("multusAutoconfigDir")?.is_none() {
        let allowed = "the name of a file in multusAutoconfigDir, which must be set too";
        return Err(FieldsError::string(KEY, &name, allowed));
    }
    Ok(Some(name))
}

/// The keys of [`PublishSettings`]. Multus would copy the file that `multusConfigFile` names;
/// Plexus always generates the configuration.
pub(super) fn publish(fields: &Fields) -> Result<Option<PublishSettings>, FieldsError> {
    const KEY: &str = "multusConfigFile";
    let file = fields.string(KEY)?;
    if let Some(other) = file.as_ref().filter(|file| *file != "auto") {
        let allowed = "\"auto\": Plexus generates its configuration";
        return Err(FieldsError::string(KEY, other, allowed));
    }
    let dir = fields.optional_path("cniConfigDir")?;
    if dir.is_none() && file.is_none() && fields.string("multusAutoconfigDir")?.is_none() {
        return Ok(None);
    }
    Ok(Some(PublishSettings {
        dir: dir.unwrap_or_else(|| PathBuf::from("/etc/cni/net.d")),
        override_name: fields.boolean("overrideNetworkName", false)?,
    }))
}

/// A warning about keys that install the shim, but no configuration of the runtime.
pub(super) fn startup_warning(fields: &Fields) -> Option<String> {
    let has_shim = fields.string("shimDir").ok()?.is_some();
    (has_shim && publish(fields).ok()?.is_none()).then(|| {
        "shimDir: plexusd installs only the shim, and publishes no configuration of the runtime; set cniConfigDir to \
         publish one"
            .to_owned()
    })
}

/// `startupTaint`. Requires the keys of the installation: without them, Plexus cannot check whether
/// the runtime finds Plexus.
pub(super) fn startup_taint(fields: &Fields) -> Result<Option<String>, FieldsError> {
    const KEY: &str = "startupTaint";
    let Some(taint) = fields.string(KEY)? else {
        return Ok(None);
    };
    if !is_taint_key(&taint) {
        let allowed =
            "the key of a taint without value and effect, such as \"example.com/not-ready\"";
        return Err(FieldsError::string(KEY, &taint, allowed));
    }
    if fields.string("shimDir")?.is_none() || publish(fields)?.is_none() {
        let allowed = "unset unless Plexus installs itself: set shimDir and cniConfigDir too";
        return Err(FieldsError::string(KEY, &taint, allowed));
    }
    Ok(Some(taint))
}

/// Whether `key` is a valid taint key in Kubernetes.
fn is_taint_key(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("prefix", key));
    let is_part = |part: &str, max_len: usize, inner: &[u8]| {
        part.len() <= max_len
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || inner.contains(&byte))
    };
    is_part(prefix, 253, b"-.") && is_part(name, 63, b"-._")
}

/// Validates the keys that only the shim reads. They are published in the runtime's configuration,
/// and an invalid value would make every call fail.
pub(super) fn check_shim_keys(fields: &Fields) -> Result<(), FieldsError> {
    const KEY: &str = "delWhenDown";
    for key in ["daemonWaitAdd", "daemonWaitDel", "daemonWaitStatus"] {
        fields.duration(key, Duration::ZERO)?;
    }
    match fields.string(KEY)?.as_deref() {
        None | Some("retry" | "spool") => Ok(()),
        Some(other) => Err(FieldsError::string(KEY, other, "\"retry\" or \"spool\"")),
    }
}

/// `daemonSocketDir`.
pub(super) fn socket_dir(fields: &Fields) -> Result<PathBuf, FieldsError> {
    const KEY: &str = "daemonSocketDir";
    let dir = fields.path(KEY, SOCKET_DIR)?;
    check_socket_dir(KEY, &dir)?;
    Ok(dir)
}

/// The directory of `multus.sock`. Returns `None` if the daemon does not listen there.
pub(super) fn multus_socket_dir(fields: &Fields) -> Result<Option<PathBuf>, FieldsError> {
    const KEY: &str = "socketDir";
    let dir = fields.optional_path(KEY)?;
    if !fields.boolean("multusSocket", dir.is_some())? {
        return Ok(None);
    }
    let dir = dir.unwrap_or_else(|| PathBuf::from("/run/multus"));
    check_socket_dir(KEY, &dir)?;
    Ok(Some(dir))
}

fn check_socket_dir(key: &str, dir: &Path) -> Result<(), FieldsError> {
    let length = dir.as_os_str().len();
    if length <= MAX_SOCKET_DIR {
        return Ok(());
    }
    let allowed = format!(
        "a path of at most {MAX_SOCKET_DIR} bytes, not {length}: Linux limits the paths of sockets to {MAX_SOCKET_PATH}"
    );
    Err(FieldsError::string(key, &dir.to_string_lossy(), allowed))
}
