//! Network configurations: a name and a list of plugins.
//!
//! A plugin's configuration is a map of raw JSON. Plexus replaces the keys that the specification
//! reserves for the runtime and passes all others on unchanged, including numbers.

mod keys;
mod plugin;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{CniError, Code, NameError, UnsupportedVersion, Version, validate_network_name};
use crate::json::{
    LimitError, MAX_CONFIG, Object, ObjectError, check_limits, decode, parse_object,
};
use crate::quote;

use keys::{boolean, check_entries, offers_version, select_version, string};
pub use plugin::PluginConfig;

/// The largest number of plugins of a network.
pub const MAX_PLUGINS: usize = 32;
/// The largest number of keys of a network, of each of its plugins, and of the configuration on
/// stdin.
pub const MAX_KEYS: usize = 256;
/// The largest number of capabilities of a plugin, and of versions of a network.
const MAX_LIST: usize = 64;

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
    /// A list where a single plugin is expected.
    #[error("is a list, which belongs in a file with the extension .conflist")]
    ListAsPlugin,
    /// The network of this name has no plugin.
    #[error("network {} has no plugin", quote(.0))]
    NoPlugin(String),
    /// The network of this name has this many plugins, more than are accepted.
    #[error(
        "network {} has {count} plugins, but may have {MAX_PLUGINS}",
        quote(name)
    )]
    Plugins {
        /// The name of the network.
        name: String,
        /// The number of plugins.
        count: usize,
    },
}

impl From<ConfigError> for CniError {
    fn from(error: ConfigError) -> Self {
        let code = match error {
            ConfigError::Version(error) => return error.into(),
            ConfigError::Limit(_) | ConfigError::NotAnObject(_) => Code::Decode,
            ConfigError::Keys(_)
            | ConfigError::Key { .. }
            | ConfigError::Name(_)
            | ConfigError::ListAsPlugin
            | ConfigError::Plugins { .. }
            | ConfigError::NoPlugin(_) => Code::InvalidConfig,
        };
        Self::new(code, error.to_string())
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
    pub fn parse(
        text: &(impl AsRef<[u8]> + ?Sized),
        defaults: Defaults<'_>,
    ) -> Result<Self, ConfigError> {
        let object = read(text.as_ref())?;
        match object.count("plugins") {
            0 if object.contains_key("type") => Self::from_plugin(object, defaults),
            0 | 1 => Self::from_list(&object, defaults),
            // Programs would disagree about the list that counts.
            _ => Err(ConfigError::Key {
                key: "plugins".into(),
                reason: "is present more than once".into(),
            }),
        }
    }

    /// Parses a single plugin, as in a `.conf` file. A list is an error.
    pub fn parse_plugin(
        text: &(impl AsRef<[u8]> + ?Sized),
        defaults: Defaults<'_>,
    ) -> Result<Self, ConfigError> {
        let object = read(text.as_ref())?;
        if object.contains_key("plugins") && !object.contains_key("type") {
            return Err(ConfigError::ListAsPlugin);
        }
        Self::from_plugin(object, defaults)
    }

    fn from_list(object: &Object, defaults: Defaults<'_>) -> Result<Self, ConfigError> {
        let mut network = Self::without_plugins(object, defaults)?;
        if object.contains_key("plugins") {
            network.plugins = plugins(object)?;
            if let [plugin] = network.plugins.as_slice()
                && !offers_version(object)
                && let Some(version) = plugin.version()?
            {
                network.cni_version = version;
            }
        } else if network.load_only_inlined_plugins {
            return Err(ConfigError::Key {
                key: "plugins".into(),
                reason: "is missing, but loadOnlyInlinedPlugins is true".into(),
            });
        }
        Ok(network)
    }

    fn from_plugin(mut object: Object, defaults: Defaults<'_>) -> Result<Self, ConfigError> {
        let mut network = Self::without_plugins(&object, defaults)?;
        for list_key in [
            "cniVersions",
            "disableCheck",
            "disableGC",
            "loadOnlyInlinedPlugins",
        ] {
            object.remove(list_key);
        }
        network.plugins.push(PluginConfig::new(object, "type")?);
        network.load_only_inlined_plugins = true;
        Ok(network)
    }

    /// The keys of a list.
    fn without_plugins(object: &Object, defaults: Defaults<'_>) -> Result<Self, ConfigError> {
        let name =
            string(object, "name")?.unwrap_or_else(|| defaults.name.unwrap_or_default().to_owned());
        validate_network_name(&name).map_err(ConfigError::Name)?;
        Ok(Self {
            name,
            cni_version: select_version(object, defaults.version)?,
            disable_check: boolean(object, "disableCheck")?,
            disable_gc: boolean(object, "disableGC")?,
            load_only_inlined_plugins: boolean(object, "loadOnlyInlinedPlugins")?,
            plugins: Vec::new(),
        })
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

fn read(text: &[u8]) -> Result<Object, ConfigError> {
    check_limits(text, MAX_CONFIG)?;
    let text = decode(text);
    check_entries(&text, MAX_KEYS, "")?;
    Ok(parse_object(&text)?)
}

fn plugins(object: &Object) -> Result<Vec<PluginConfig>, ConfigError> {
    let invalid = |reason: &str| ConfigError::Key {
        key: "plugins".into(),
        reason: reason.into(),
    };
    let not_objects = || invalid("must be a list of objects");
    let raw = object.raw("plugins").ok_or_else(not_objects)?;
    check_entries(raw.get(), MAX_PLUGINS, "plugins")?;
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| not_objects())?;
    if list.is_empty() {
        return Err(invalid("is an empty list"));
    }
    list.into_iter()
        .enumerate()
        .map(|(index, raw)| {
            check_entries(raw.get(), MAX_KEYS, &format!("plugins[{index}]"))?;
            let object = serde_json::from_str(raw.get()).map_err(|_| not_objects())?;
            PluginConfig::new(object, &format!("plugins[{index}].type"))
        })
        .collect()
}
