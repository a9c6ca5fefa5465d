//! The configuration on stdin, as far as the shim looks into it.

use plexus_api::cni::{CniError, Code, RawMap, Verb, Version, validate_network_name};
use serde_json::value::RawValue;

/// The top-level keys. Their values stay unread: most are not the shim's business (P-033).
#[derive(Debug, Clone)]
pub struct Config(RawMap);

impl Config {
    /// Reads the keys of the object in `stdin`; of a key given twice the last counts.
    ///
    /// # Errors
    /// [`Code::Decode`] where it is not a JSON object (P-030).
    pub fn parse(stdin: &[u8]) -> Result<Self, CniError> {
        let wrong = |why: &str| {
            CniError::new(
                Code::Decode,
                format!("the configuration on stdin is not a JSON object: {why}"),
            )
        };
        let text = std::str::from_utf8(stdin).map_err(|error| wrong(&error.to_string()))?;
        let map = serde_json::from_str(text).map_err(|error| {
            // Errors of syntax say where; those of type quote what they found, which may be a secret (P-047).
            if error.is_data() {
                wrong("it is JSON of another type")
            } else {
                wrong(&error.to_string())
            }
        })?;
        Ok(Self(map))
    }

    /// The value of `key`, found as Go's decoder finds it: whatever its case, the exact spelling first.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        let any_case = || {
            self.0
                .iter()
                .find(|(other, _)| other.eq_ignore_ascii_case(key))
                .map(|(_, raw)| raw)
        };
        self.0.get(key).or_else(any_case).map(AsRef::as_ref)
    }

    /// The text at `key`; none where it is missing, null or empty.
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] where it is not a string.
    pub fn text(&self, key: &str) -> Result<Option<String>, CniError> {
        let Some(raw) = self.raw(key) else {
            return Ok(None);
        };
        let text: Option<String> = serde_json::from_str(raw.get()).map_err(|_| {
            CniError::new(
                Code::InvalidConfig,
                format!("configuration key {key:?} must be a string"),
            )
        })?;
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// The version that the configuration is written in (P-063, P-064).
    ///
    /// # Errors
    /// [`Code::IncompatibleVersion`] where we do not speak it.
    pub fn version(&self) -> Result<Version, CniError> {
        Version::from_key(self.text("cniVersion")?.as_deref())
    }

    /// Checks the network's name (P-032), and that the version has `verb` (P-065, P-066).
    ///
    /// # Errors
    /// [`Code::InvalidConfig`] or [`Code::IncompatibleVersion`].
    pub fn check(&self, verb: Verb) -> Result<(), CniError> {
        validate_network_name(&self.text("name")?.unwrap_or_default())?;
        let version = self.version()?;
        let since = match verb {
            Verb::Check => Version::V0_4_0,
            Verb::Gc | Verb::Status => Version::V1_1_0,
            Verb::Add | Verb::Del | Verb::Version => Version::V0_1_0,
        };
        if version < since {
            let msg = format!("cniVersion {version} of the configuration does not have {verb}");
            return Err(CniError::new(Code::IncompatibleVersion, msg)
                .with_details(format!("{verb} needs {since}")));
        }
        Ok(())
    }
}
