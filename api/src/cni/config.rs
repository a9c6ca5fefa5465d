//! Network configurations: a name and a list of plugins.
//!
//! A plugin's configuration is a map of raw JSON. Plexus replaces the keys that the specification
//! reserves for the runtime and passes all others on unchanged, including numbers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    CniError, Code, NameError, UnsupportedVersion, Version, validate_network_name,
    validate_plugin_type,
};
use crate::json::{
    LimitError, MAX_CONFIG, Object, ObjectError, RawMap, check_limits, count_entries, keys_match,
    parse_object,
};

/// The largest number of plugins of a network.
pub const MAX_PLUGINS: usize = 32;
/// The largest number of keys of a network and of each of its plugins.
const MAX_KEYS: usize = 256;
/// The largest number of capabilities of a plugin, and of versions of a network.
const MAX_LIST: usize = 64;
/// What a key takes in memory beside its text, in bytes.
const KEY_OVERHEAD: usize = 96;

/// An invalid network configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is too long or nested too deep.
    #[error("the configuration cannot be read: {0}")]
    Limit(#[from] LimitError),
    /// The text is not a JSON object.
    #[error("the configuration is {0}")]
    NotAnObject(#[from] ObjectError),
    /// The configuration has this many keys, more than are accepted.
    #[error("the configuration has {0} keys, but may have {MAX_KEYS}")]
    Keys(usize),
    /// A key has a value of the wrong type or form.
    #[error("configuration key {key:?} {reason}")]
    Key {
        /// The key, with the plugin's index if the key belongs to a plugin.
        key: String,
        /// The reason, as a predicate: `must be a string`.
        reason: String,
    },
    /// The network's name is invalid.
    #[error(transparent)]
    Name(NameError),
    /// None of the offered versions is supported.
    #[error(transparent)]
    Version(#[from] UnsupportedVersion),
    /// The network of this name has no plugin.
    #[error("network {0:?} has no plugin")]
    NoPlugin(String),
}

impl From<ConfigError> for CniError {
    fn from(error: ConfigError) -> Self {
        let code = match error {
            ConfigError::Version(error) => return error.into(),
            ConfigError::Limit(_) | ConfigError::NotAnObject(_) => Code::Decode,
            ConfigError::Keys(_)
            | ConfigError::Key { .. }
            | ConfigError::Name(_)
            | ConfigError::NoPlugin(_) => Code::InvalidConfig,
        };
        Self::new(code, error.to_string())
    }
}

/// The configuration of one plugin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PluginConfig(RawMap);

impl PluginConfig {
    /// Checks `type`. `type_key` names that key in errors, such as
    /// `plugins[1].type`.
    fn new(mut map: RawMap, type_key: &str) -> Result<Self, ConfigError> {
        normalize_keys(&mut map, &["type", "capabilities"]);
        if let Some(capabilities) = map.get("capabilities") {
            check_entries(capabilities.get(), MAX_LIST, "capabilities")?;
        }
        let invalid = |reason: String| ConfigError::Key {
            key: type_key.to_owned(),
            reason,
        };
        let raw = map
            .get("type")
            .ok_or_else(|| invalid("is missing".to_owned()))?;
        let kind: String =
            serde_json::from_str(raw.get()).map_err(|_| invalid("must be a string".to_owned()))?;
        validate_plugin_type(&kind)
            .map_err(|_| invalid(format!("must be a file name without a path, not {kind:?}")))?;
        Ok(Self(map))
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
        let types = keys.filter_map(|(_, raw)| {
            let ipam: Option<Object> = serde_json::from_str(raw.get()).ok()?;
            ipam?.get::<String>("type").ok()?
        });
        types.last().filter(|kind| !kind.is_empty())
    }

    /// The value of `key`. Returns `None` if the key is missing or its value is not a `T`.
    pub fn get<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Option<T> {
        self.0
            .get(key)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The raw value of `key`.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        self.0.get(key).map(AsRef::as_ref)
    }

    /// Sets `key`.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), ConfigError> {
        let raw = to_raw_value(value).map_err(|error| ConfigError::Key {
            key: key.to_owned(),
            reason: format!("cannot be written as JSON: {error}"),
        })?;
        self.0.insert(key.to_owned(), raw);
        Ok(())
    }

    /// Removes `key`, if present.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// All keys.
    pub fn as_map(&self) -> &RawMap {
        &self.0
    }

    /// The size in memory, in bytes.
    fn size(&self) -> usize {
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

/// The configuration of a network.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfig {
    /// The network's name, the same for every verb.
    pub name: String,
    /// The version in which the plugins are called.
    pub cni_version: Version,
    /// Whether CHECK is skipped.
    #[serde(default)]
    pub disable_check: bool,
    /// Whether GC is skipped.
    #[serde(default, rename = "disableGC")]
    pub disable_gc: bool,
    /// Whether the plugin files in the directory beside the configuration file are ignored.
    #[serde(skip)]
    pub load_only_inlined_plugins: bool,
    /// The plugins, in the order of ADD. Empty until plugin files are loaded, if the list has no
    /// inline plugin.
    pub plugins: Vec<PluginConfig>,
}

/// Values for missing keys of a network configuration.
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// The name, if missing or empty (K-005).
    pub name: Option<&'a str>,
    /// The version, if missing or empty.
    pub version: Version,
}

impl NetworkConfig {
    /// Parses a list (an object with `plugins`), or a single plugin (an object with `type`), which
    /// becomes a list of one (R-001… ).
    ///
    /// A list without inline plugins is valid here; [`NetworkConfig::require_plugin`] refuses it.
    pub fn parse(text: &str, defaults: Defaults<'_>) -> Result<Self, ConfigError> {
        check_limits(text.as_bytes(), MAX_CONFIG)?;
        check_entries(text, MAX_KEYS, "")?;
        let mut map: RawMap = parse_object(text)?;
        normalize_keys(&mut map, &["name", "cniVersion", "type", "plugins"]);
        let name = string(&map, "name")?
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| defaults.name.unwrap_or_default().to_owned());
        validate_network_name(&name).map_err(ConfigError::Name)?;
        let cni_version = select_version(&map, defaults.version)?;
        let load_only_inlined_plugins = boolean(&map, "loadOnlyInlinedPlugins")?;
        let mut network = Self {
            name,
            cni_version,
            disable_check: boolean(&map, "disableCheck")?,
            disable_gc: boolean(&map, "disableGC")?,
            load_only_inlined_plugins,
            plugins: Vec::new(),
        };
        match map.get("plugins") {
            Some(raw) => network.plugins = plugins(raw)?,
            None if map.contains_key("type") => {
                for list_key in [
                    "cniVersions",
                    "disableCheck",
                    "disableGC",
                    "loadOnlyInlinedPlugins",
                ] {
                    map.remove(list_key);
                }
                network.plugins.push(PluginConfig::new(map, "type")?);
                network.load_only_inlined_plugins = true;
            }
            None if load_only_inlined_plugins => {
                return Err(ConfigError::Key {
                    key: "plugins".into(),
                    reason: "is missing, but loadOnlyInlinedPlugins is true".into(),
                });
            }
            None => {}
        }
        Ok(network)
    }

    /// Refuses a network without plugins.
    ///
    /// # Errors
    /// [`ConfigError::NoPlugin`].
    pub fn require_plugin(self) -> Result<Self, ConfigError> {
        if self.plugins.is_empty() {
            Err(ConfigError::NoPlugin(self.name))
        } else {
            Ok(self)
        }
    }

    /// The size of the plugins' configurations in memory, in bytes.
    pub fn size(&self) -> usize {
        self.plugins.iter().map(PluginConfig::size).sum()
    }

    /// The capabilities that any plugin declares with `true`.
    pub fn capabilities(&self) -> BTreeSet<String> {
        self.plugins
            .iter()
            .flat_map(PluginConfig::capabilities)
            .collect()
    }

    /// Whether any plugin declares `capability` with `true`.
    pub fn declares(&self, capability: &str) -> bool {
        self.plugins
            .iter()
            .any(|plugin| plugin.capabilities().contains(capability))
    }
}

/// Renames keys in another case, unless the exact key is present: libcni matches the keys of lists
/// exactly, but plugins match their own keys in any case.
fn normalize_keys(map: &mut RawMap, keys: &[&str]) {
    for key in keys {
        if map.contains_key(*key) {
            continue;
        }
        let variant = map.keys().find(|other| keys_match(other, key)).cloned();
        if let Some(value) = variant.and_then(|variant| map.remove(&variant)) {
            map.insert((*key).to_owned(), value);
        }
    }
}

fn plugins(raw: &RawValue) -> Result<Vec<PluginConfig>, ConfigError> {
    let invalid = |reason: &str| ConfigError::Key {
        key: "plugins".into(),
        reason: reason.into(),
    };
    check_entries(raw.get(), MAX_PLUGINS, "plugins")?;
    let not_objects = |_| invalid("must be a list of objects");
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(not_objects)?;
    if list.is_empty() {
        return Err(invalid("is an empty list"));
    }
    list.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            check_entries(raw.get(), MAX_KEYS, &format!("plugins[{index}]"))?;
            let map = serde_json::from_str(raw.get()).map_err(not_objects)?;
            PluginConfig::new(map, &format!("plugins[{index}].type"))
        })
        .collect()
}

/// Refuses a list or an object with more than `max` entries before it is parsed (decision 37).
/// `key` has the list or object as its value, and is empty for the whole configuration.
fn check_entries(text: &str, max: usize, key: &str) -> Result<(), ConfigError> {
    let count = count_entries(text);
    if count <= max {
        Ok(())
    } else if key.is_empty() {
        Err(ConfigError::Keys(count))
    } else {
        Err(ConfigError::Key {
            key: key.to_owned(),
            reason: format!("has {count} entries, but may have {max}"),
        })
    }
}

/// The highest supported version of `cniVersion` and `cniVersions`.
fn select_version(map: &RawMap, default: Version) -> Result<Version, ConfigError> {
    let single = string(map, "cniVersion")?.filter(|version| !version.is_empty());
    let versions = map.get("cniVersions");
    if let Some(versions) = versions {
        check_entries(versions.get(), MAX_LIST, "cniVersions")?;
    }
    let list: Vec<String> = match versions {
        None => Vec::new(),
        Some(raw) => serde_json::from_str::<Option<_>>(raw.get())
            .map_err(|_| ConfigError::Key {
                key: "cniVersions".into(),
                reason: "must be a list of strings".into(),
            })?
            .unwrap_or_default(),
    };
    if let Some(invalid) = list.iter().find(|version| !is_semver(version)) {
        return Err(ConfigError::Key {
            key: "cniVersions".into(),
            reason: format!("has {invalid:?}, which is not a version"),
        });
    }
    let offered: Vec<&str> = single.iter().chain(&list).map(String::as_str).collect();
    if offered.is_empty() {
        return Ok(default);
    }
    offered
        .iter()
        .filter_map(|version| version.parse().ok())
        .max()
        .ok_or_else(|| UnsupportedVersion(offered.join(", ")).into())
}

fn is_semver(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    parts.len() == 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

fn string(map: &RawMap, key: &str) -> Result<Option<String>, ConfigError> {
    let Some(raw) = map.get(key) else {
        return Ok(None);
    };
    serde_json::from_str(raw.get()).map_err(|_| ConfigError::Key {
        key: key.into(),
        reason: "must be a string".into(),
    })
}

/// A boolean, which libcni also accepts as a string.
fn boolean(map: &RawMap, key: &str) -> Result<bool, ConfigError> {
    let invalid = || ConfigError::Key {
        key: key.into(),
        reason: "must be true or false".into(),
    };
    let Some(raw) = map.get(key) else {
        return Ok(false);
    };
    match serde_json::from_str(raw.get()).map_err(|_| invalid())? {
        serde_json::Value::Bool(value) => Ok(value),
        serde_json::Value::Null => Ok(false),
        serde_json::Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        serde_json::Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(invalid()),
    }
}
