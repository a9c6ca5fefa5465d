//! The keys that say what is put on the node, and where.

use std::path::PathBuf;
use std::time::Duration;

use super::{Fields, FieldsError};

/// The network configuration of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// `cniConfigDir`: the directory that the runtime reads.
    pub dir: PathBuf,
    /// `overrideNetworkName`: it has the name of the default network.
    pub override_name: bool,
}

/// A path, if it is set.
pub(super) fn optional_path(fields: &Fields, key: &str) -> Result<Option<PathBuf>, FieldsError> {
    if fields.text(key)?.is_none() {
        Ok(None)
    } else {
        fields.path(key, "").map(Some)
    }
}

fn wrong(key: &str, value: &str, allowed: &str) -> FieldsError {
    FieldsError::Value {
        key: key.to_owned(),
        value: format!("{value:?}"),
        allowed: allowed.to_owned(),
    }
}

/// `multusMasterCNI`.
pub(super) fn master_cni(fields: &Fields) -> Result<Option<String>, FieldsError> {
    let Some(name) = fields.text("multusMasterCNI")? else {
        return Ok(None);
    };
    if name.contains('/') || fields.text("multusAutoconfigDir")?.is_none() {
        return Err(wrong(
            "multusMasterCNI",
            &name,
            "the name of a file in multusAutoconfigDir, which must be set too",
        ));
    }
    Ok(Some(name))
}

/// Multus copies the file that `multusConfigFile` names, and ends; here only the generated configuration exists.
pub(super) fn publish(fields: &Fields) -> Result<Option<Publish>, FieldsError> {
    let file = fields.text("multusConfigFile")?;
    if let Some(other) = file.as_ref().filter(|file| *file != "auto") {
        return Err(wrong(
            "multusConfigFile",
            other,
            "\"auto\", since Plexus publishes a configuration of its own",
        ));
    }
    let dir = optional_path(fields, "cniConfigDir")?;
    if dir.is_none() && file.is_none() && fields.text("multusAutoconfigDir")?.is_none() {
        return Ok(None);
    }
    let dir = dir.unwrap_or_else(|| PathBuf::from("/etc/cni/net.d"));
    Ok(Some(Publish {
        dir,
        override_name: fields.boolean("overrideNetworkName", false)?,
    }))
}

/// `startupTaint`. Whoever did not install Plexus cannot tell whether the runtime would find it.
pub(super) fn startup_taint(fields: &Fields) -> Result<Option<String>, FieldsError> {
    const KEY: &str = "startupTaint";
    let Some(taint) = fields.text(KEY)? else {
        return Ok(None);
    };
    if !is_qualified(&taint) {
        return Err(wrong(
            KEY,
            &taint,
            "the key of a taint without value and effect, as \"example.com/not-ready\"",
        ));
    }
    if fields.text("shimDir")?.is_none() || publish(fields)?.is_none() {
        return Err(wrong(
            KEY,
            &taint,
            "unset where Plexus does not install itself: set shimDir and cniConfigDir, too",
        ));
    }
    Ok(Some(taint))
}

/// Whether Kubernetes takes this for the key of a taint, as far as characters go.
fn is_qualified(key: &str) -> bool {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("prefix", key));
    let is_part = |part: &str, longest: usize, inner: &[u8]| {
        part.len() <= longest
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || inner.contains(&byte))
    };
    is_part(prefix, 253, b"-.") && is_part(name, 63, b"-._")
}

/// Checks the keys that the shim alone reads. They go into the configuration that is published, and every call would fail.
pub(super) fn check_shim_keys(fields: &Fields) -> Result<(), FieldsError> {
    for key in ["daemonWaitAdd", "daemonWaitDel", "daemonWaitStatus"] {
        fields.duration(key, Duration::ZERO)?;
    }
    match fields.text("delWhenDown")?.as_deref() {
        None | Some("retry" | "spool") => Ok(()),
        Some(other) => Err(wrong("delWhenDown", other, "\"retry\" or \"spool\"")),
    }
}

/// Where `multus.sock` is, if it is wanted.
pub(super) fn multus_socket_dir(fields: &Fields) -> Result<Option<PathBuf>, FieldsError> {
    let dir = optional_path(fields, "socketDir")?;
    let wanted = fields.boolean("multusSocket", dir.is_some())?;
    Ok(wanted.then(|| dir.unwrap_or_else(|| PathBuf::from("/run/multus"))))
}
