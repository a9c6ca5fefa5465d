//! The configuration of one plugin.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::keys::check_entries;
use super::{ConfigError, MAX_LIST, read};
use crate::cni::{Version, validate_plugin_type};
use crate::json::{Object, RawMap, keys_match, last_value, strings_at};
use crate::quote;

/// What a key takes in memory beside its text, in bytes.
const KEY_OVERHEAD: usize = 96;

/// The configuration of one plugin. Plugins written in Go read their keys by the rules of
/// [`crate::json`], and so do the methods.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PluginConfig(RawMap);

impl PluginConfig {
    /// Parses the object of one plugin.
    ///
    /// # Errors
    /// The text is not an object, or its `type` is invalid.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        Self::new(read(text)?, "type")
    }

    /// Checks `type`. `type_key` names that key in errors, such as
    /// `plugins[1].type`.
    pub(super) fn new(mut object: Object, type_key: &str) -> Result<Self, ConfigError> {
        // Plexus acts on these keys, so no plugin may find another value of them.
        for key in ["type", "capabilities"] {
            if let Some(raw) = object.raw(key).map(ToOwned::to_owned) {
                object.insert(key, raw);
            }
        }
        if let Some(capabilities) = object.raw("capabilities") {
            check_entries(capabilities.get(), MAX_LIST, "capabilities")?;
        }
        let invalid = |reason: String| ConfigError::Key {
            key: type_key.to_owned(),
            reason,
        };
        let kind: String = match object.get("type") {
            Ok(Some(kind)) => kind,
            Ok(None) if !object.contains_key("type") => {
                return Err(invalid("is missing".to_owned()));
            }
            _ => return Err(invalid("must be a string".to_owned())),
        };
        validate_plugin_type(&kind).map_err(|_| {
            invalid(format!(
                "must be a file name without a path, not {}",
                quote(&kind)
            ))
        })?;
        Ok(Self(object.into_map()))
    }

    /// The plugin's `type`: the name of its executable.
    pub fn kind(&self) -> String {
        // `new` has checked the type, but a record that was edited by hand may lack the key. No
        // executable has an empty name.
        self.get("type").unwrap_or_default()
    }

    /// The type of the IPAM plugin that the plugin runs. Returns `None` if the plugin has none, or if
    /// its `ipam` cannot be read.
    ///
    /// Go reads every spelling of `ipam` into the same struct, in the order of the text (decision
    /// 38).
    pub fn ipam_type(&self) -> Option<String> {
        let keys = self.0.iter().filter(|(key, _)| keys_match(key, "ipam"));
        let mut types = keys.filter_map(|(_, raw)| {
            let ipam: Option<Object> = serde_json::from_str(raw.get()).ok()?;
            ipam?.get::<String>("type").ok()?
        });
        types.next_back().filter(|kind| !kind.is_empty())
    }

    /// `cniVersion`, which belongs to the list, but which some authors write into its only plugin.
    pub(super) fn version(&self) -> Result<Option<Version>, ConfigError> {
        let Some(raw) = self.raw("cniVersion") else {
            return Ok(None);
        };
        let version: String = serde_json::from_str(raw.get()).map_err(|_| ConfigError::Key {
            key: "plugins[0].cniVersion".into(),
            reason: "must be a string".into(),
        })?;
        Ok(if version.is_empty() {
            None
        } else {
            Some(version.parse()?)
        })
    }

    /// All strings at a key `type`, at any depth: the type of this plugin, and those of the IPAM
    /// plugin and of other plugins that this one may execute. Every occurrence is included, even if
    /// a later one replaces it.
    pub fn types(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(key, raw)| {
            let own = keys_match(key, "type")
                .then(|| serde_json::from_str(raw.get()).ok())
                .flatten();
            own.into_iter().chain(strings_at(raw.get(), "type"))
        })
    }

    /// The value of `key`. Returns `None` if the key is missing or its value is not a `T`.
    pub fn get<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Option<T> {
        self.raw(key)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The raw value of `key`: the last one in the order in which a plugin gets the keys. Returns
    /// `None` if the key is missing or null.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        last_value(self.0.iter(), key)
    }

    /// Sets `key`. Replaces its value in every spelling.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), ConfigError> {
        let raw = to_raw_value(value).map_err(|error| ConfigError::Key {
            key: key.to_owned(),
            reason: format!("cannot be written as JSON: {error}"),
        })?;
        self.remove(key);
        self.0.insert(key.to_owned(), raw);
        Ok(())
    }

    /// Removes `key` in every spelling.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|other, _| !keys_match(other, key));
    }

    /// All keys.
    pub fn as_map(&self) -> &RawMap {
        &self.0
    }

    /// The size in memory, in bytes.
    pub(super) fn size(&self) -> usize {
        self.0
            .iter()
            .map(|(key, raw)| key.len() + raw.get().len() + KEY_OVERHEAD)
            .sum()
    }

    /// The capabilities that the plugin declares with `true`.
    pub fn capabilities(&self) -> BTreeSet<String> {
        let declared: RawMap = self.get("capabilities").unwrap_or_default();
        declared
            .into_iter()
            .filter(|(_, raw)| raw.get() == "true")
            .map(|(key, _)| key)
            .collect()
    }
}
