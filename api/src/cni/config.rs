//! Network configurations: one list of plugins under one name.
//!
//! A plugin object is a map of key to raw JSON. Plexus replaces the keys that the specification gives a runtime to
//! set and hands all others on to the letter, numbers included.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{CniError, Code, Version, validate_network_name, validate_plugin_type};
use crate::json::{MAX_CONFIG, check_limits};

/// A JSON object whose values are kept as they were written.
pub type RawMap = BTreeMap<String, Box<RawValue>>;

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not a JSON object, is too large, or too deep.
    #[error("configuration is not usable JSON: {0}")]
    Json(String),
    /// A key has a value of the wrong type or form.
    #[error("configuration key {key:?} {why}")]
    Key {
        /// The key, with the plugin's index where it is in one.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// The network's name is not valid.
    #[error("{0}")]
    Name(String),
    /// No version that is offered is supported.
    #[error("cniVersion {0:?} is not supported")]
    Version(String),
    /// There is no plugin to run.
    #[error("network {0:?} has no plugin")]
    NoPlugin(String),
    /// Neither a plugin nor a list of them.
    #[error("configuration has neither \"type\" nor \"plugins\"")]
    Neither,
}

impl From<ConfigError> for CniError {
    fn from(error: ConfigError) -> Self {
        match &error {
            ConfigError::Version(version) => Version::unsupported(version),
            ConfigError::Json(_) => Self::new(Code::Decode, error.to_string()),
            _ => Self::new(Code::InvalidConfig, error.to_string()),
        }
    }
}

/// One plugin object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PluginConfig(RawMap);

impl PluginConfig {
    /// Takes an object that has a usable `type`. `place` names it in errors, as `plugins[1]`.
    fn new(mut map: RawMap, place: &str) -> Result<Self, ConfigError> {
        spell(&mut map, &["type", "capabilities"]);
        let key = || format!("{place}.type").trim_start_matches('.').to_owned();
        let kind = match map
            .get("type")
            .map(|raw| serde_json::from_str::<String>(raw.get()))
        {
            Some(Ok(kind)) => kind,
            Some(Err(_)) => {
                return Err(ConfigError::Key {
                    key: key(),
                    why: "must be a string".into(),
                });
            }
            None => {
                return Err(ConfigError::Key {
                    key: key(),
                    why: "is missing".into(),
                });
            }
        };
        validate_plugin_type(&kind).map_err(|error| ConfigError::Key {
            key: key(),
            why: format!("is wrong: {}", error.msg),
        })?;
        Ok(Self(map))
    }

    /// The plugin's `type`: the name of its executable.
    pub fn kind(&self) -> String {
        // `new` has checked that it is a string; a record edited by hand yields an empty type, which no lookup finds.
        self.get("type").unwrap_or_default()
    }

    /// The value of `key`, where it is there and of that type.
    pub fn get<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Option<T> {
        self.0
            .get(key)
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The raw value of `key`.
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        self.0.get(key).map(AsRef::as_ref)
    }

    /// Sets `key`, in place of what it was.
    pub fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), ConfigError> {
        let raw = to_raw_value(value).map_err(|error| ConfigError::Key {
            key: key.to_owned(),
            why: format!("cannot be written: {error}"),
        })?;
        self.0.insert(key.to_owned(), raw);
        Ok(())
    }

    /// Removes `key`.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// The object, key by key.
    pub fn as_map(&self) -> &RawMap {
        &self.0
    }

    /// The capabilities that the plugin declares as `true`.
    pub fn capabilities(&self) -> BTreeSet<String> {
        let declared: RawMap = self.get("capabilities").unwrap_or_default();
        declared
            .into_iter()
            .filter(|(_, raw)| raw.get() == "true")
            .map(|(key, _)| key)
            .collect()
    }
}

/// A network: its name, the version in which its plugins are called, and the plugins in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfig {
    /// The network's name, the same on every verb.
    pub name: String,
    /// The version that was selected.
    pub cni_version: Version,
    /// CHECK is not to be called.
    #[serde(default)]
    pub disable_check: bool,
    /// GC is not to be called.
    #[serde(default, rename = "disableGC")]
    pub disable_gc: bool,
    /// Plugins in the directory beside the file are not to be added; only a file's loader asks.
    #[serde(skip)]
    pub load_only_inlined_plugins: bool,
    /// The plugins, in the order of ADD. May be empty until a file's loader has added its own.
    pub plugins: Vec<PluginConfig>,
}

/// What a configuration is given where it does not say itself.
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// The name, where it is missing or empty (K-005).
    pub name: Option<&'a str>,
    /// The version, where it is missing or empty.
    pub version: Version,
}

impl NetworkConfig {
    /// Reads a list (an object with `plugins`) or a single plugin (an object with `type`), which becomes a list of
    /// one (R-001… ).
    ///
    /// A list that inlines no plugin is returned empty; [`NetworkConfig::require_plugin`] refuses it.
    ///
    /// # Errors
    /// What is wrong, with the key.
    pub fn parse(text: &str, defaults: Defaults<'_>) -> Result<Self, ConfigError> {
        check_limits(text.as_bytes(), MAX_CONFIG).map_err(|error| ConfigError::Json(error.msg))?;
        let mut map: RawMap = serde_json::from_str(text).map_err(|error| {
            // Errors of syntax say where; those of type quote what they found, which may be a secret (P-047).
            ConfigError::Json(if error.is_data() {
                "it is not an object".to_owned()
            } else {
                error.to_string()
            })
        })?;
        spell(&mut map, &["name", "cniVersion", "type", "plugins"]);
        let name = match string(&map, "name")?.filter(|name| !name.is_empty()) {
            Some(name) => name,
            None => defaults.name.unwrap_or_default().to_owned(),
        };
        validate_network_name(&name).map_err(|error| ConfigError::Name(error.msg))?;
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
                let mut map = map;
                for list_key in [
                    "cniVersions",
                    "disableCheck",
                    "disableGC",
                    "loadOnlyInlinedPlugins",
                ] {
                    map.remove(list_key);
                }
                network.plugins.push(PluginConfig::new(map, "")?);
                network.load_only_inlined_plugins = true;
            }
            None if load_only_inlined_plugins => {
                return Err(ConfigError::Key {
                    key: "plugins".into(),
                    why: "is missing, and loadOnlyInlinedPlugins is true".into(),
                });
            }
            None => {}
        }
        Ok(network)
    }

    /// Refuses a network without a plugin.
    ///
    /// # Errors
    /// [`ConfigError::NoPlugin`] names the network.
    pub fn require_plugin(self) -> Result<Self, ConfigError> {
        if self.plugins.is_empty() {
            Err(ConfigError::NoPlugin(self.name))
        } else {
            Ok(self)
        }
    }

    /// Whether any plugin declares `capability` as true.
    pub fn declares(&self, capability: &str) -> bool {
        self.plugins
            .iter()
            .any(|plugin| plugin.capabilities().contains(capability))
    }
}

/// Gives these keys their own spelling where they are written in another case, which Go's decoder takes for the same.
fn spell(map: &mut RawMap, keys: &[&str]) {
    for key in keys
        .iter()
        .filter(|key| !map.contains_key(**key))
        .copied()
        .collect::<Vec<_>>()
    {
        let variant = map
            .keys()
            .find(|other| other.eq_ignore_ascii_case(key))
            .cloned();
        let value = variant.and_then(|variant| map.remove(&variant));
        map.extend(value.map(|value| (key.to_owned(), value)));
    }
}

fn plugins(raw: &RawValue) -> Result<Vec<PluginConfig>, ConfigError> {
    let wrong = |why: &str| ConfigError::Key {
        key: "plugins".into(),
        why: why.into(),
    };
    let list: Vec<RawMap> =
        serde_json::from_str(raw.get()).map_err(|_| wrong("must be a list of objects"))?;
    if list.is_empty() {
        return Err(wrong("is an empty list"));
    }
    list.into_iter()
        .enumerate()
        .map(|(index, map)| PluginConfig::new(map, &format!("plugins[{index}]")))
        .collect()
}

/// The highest supported version out of `cniVersion` and `cniVersions`.
fn select_version(map: &RawMap, default: Version) -> Result<Version, ConfigError> {
    let single = string(map, "cniVersion")?.filter(|version| !version.is_empty());
    let list: Vec<String> = match map.get("cniVersions") {
        None => Vec::new(),
        Some(raw) => serde_json::from_str::<Option<_>>(raw.get())
            .map_err(|_| ConfigError::Key {
                key: "cniVersions".into(),
                why: "must be a list of strings".into(),
            })?
            .unwrap_or_default(),
    };
    if let Some(wrong) = list.iter().find(|version| !is_semver(version)) {
        let why = format!("has {wrong:?}, which is not a version");
        return Err(ConfigError::Key {
            key: "cniVersions".into(),
            why,
        });
    }
    let offered: Vec<&str> = single.iter().chain(&list).map(String::as_str).collect();
    if offered.is_empty() {
        return Ok(default);
    }
    let best = offered
        .iter()
        .filter_map(|version| Version::exact(version))
        .max();
    best.ok_or_else(|| ConfigError::Version(offered.join(", ")))
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
        why: "must be a string".into(),
    })
}

/// A boolean, also as the strings that libcni takes for one.
fn boolean(map: &RawMap, key: &str) -> Result<bool, ConfigError> {
    let wrong = || ConfigError::Key {
        key: key.into(),
        why: "must be true or false".into(),
    };
    let Some(raw) = map.get(key) else {
        return Ok(false);
    };
    match serde_json::from_str(raw.get()).map_err(|_| wrong())? {
        serde_json::Value::Bool(value) => Ok(value),
        serde_json::Value::Null => Ok(false),
        serde_json::Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        serde_json::Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(wrong()),
    }
}
