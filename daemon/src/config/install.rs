//! The keys that say what is put on the node, and where.

use std::path::PathBuf;

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
    if fields.text(key)?.is_none() { Ok(None) } else { fields.path(key, "").map(Some) }
}

fn wrong(key: &str, value: &str, allowed: &str) -> FieldsError {
    FieldsError::Value { key: key.to_owned(), value: format!("{value:?}"), allowed: allowed.to_owned() }
}

/// `multusMasterCNI`.
pub(super) fn master_cni(fields: &Fields) -> Result<Option<String>, FieldsError> {
    let Some(name) = fields.text("multusMasterCNI")? else { return Ok(None) };
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
        return Err(wrong("multusConfigFile", other, "\"auto\", since Plexus publishes a configuration of its own"));
    }
    let dir = optional_path(fields, "cniConfigDir")?;
    if dir.is_none() && file.is_none() && fields.text("multusAutoconfigDir")?.is_none() {
        return Ok(None);
    }
    let dir = dir.unwrap_or_else(|| PathBuf::from("/etc/cni/net.d"));
    Ok(Some(Publish { dir, override_name: fields.boolean("overrideNetworkName", false)? }))
}

/// Where `multus.sock` is, if it is wanted.
pub(super) fn multus_socket_dir(fields: &Fields) -> Result<Option<PathBuf>, FieldsError> {
    let dir = optional_path(fields, "socketDir")?;
    let wanted = fields.boolean("multusSocket", dir.is_some())?;
    Ok(wanted.then(|| dir.unwrap_or_else(|| PathBuf::from("/run/multus"))))
}
