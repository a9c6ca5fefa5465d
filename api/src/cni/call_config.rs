//! The configuration that a call passes on stdin. The shim and the daemon parse it by the same
//! rules.

use super::{CniError, Code, Verb, Version, validate_network_name};
use crate::json::Object;

/// The configuration of a call.
#[derive(Debug, Clone)]
pub struct CallConfig {
    /// All keys. Values are only parsed when used, so other keys may have any type (P-033).
    pub object: Object,
}

impl CallConfig {
    /// Parses the configuration.
    ///
    /// # Errors
    /// [`Code::Decode`] if `stdin` is not a JSON object (P-030).
    pub fn parse(stdin: &[u8]) -> Result<Self, CniError> {
        Object::parse(stdin)
            .map(|object| Self { object })
            .map_err(|error| {
                CniError::new(
                    Code::Decode,
                    format!("the configuration on stdin is {error}"),
                )
            })
    }

    /// The configuration's version. A missing or empty `cniVersion` means 0.1.0 (P-063, P-064).
    ///
    /// # Errors
    /// [`Code::IncompatibleVersion`] if Plexus does not support the version,
    /// [`Code::InvalidConfig`] if it is not a string.
    pub fn version(&self) -> Result<Version, CniError> {
        match self.string("cniVersion")? {
            Some(version) => Ok(version.parse()?),
            None => Ok(Version::V0_1_0),
        }
    }

    /// Checks the network's name (P-032), and that the configuration's version supports `verb`
    /// (P-065, P-066).
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] or [`Code::IncompatibleVersion`].
    pub fn check(&self, verb: Verb) -> Result<(), CniError> {
        validate_network_name(&self.string("name")?.unwrap_or_default())?;
        let version = self.version()?;
        if version < verb.since() {
            let msg = format!(
                "{verb} needs cniVersion {} or later, but the configuration has {version}",
                verb.since()
            );
            return Err(CniError::new(Code::IncompatibleVersion, msg));
        }
        Ok(())
    }

    fn string(&self, key: &str) -> Result<Option<String>, CniError> {
        self.object.string(key).map_err(|_| {
            CniError::new(
                Code::InvalidConfig,
                format!("configuration key {key:?} must be a string"),
            )
        })
    }
}
