//! The text of the published configuration: a list with our plugin first, then the plugins that
//! other programs appended.

use std::collections::BTreeMap;

use plexus_api::cni::{ConfigError, Defaults, NetworkConfig, PluginConfig, RawMap, Version};
use plexus_api::selection::POD_ANNOTATIONS;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::SHIM;
use crate::config::{Fields, Settings, on_host};
use crate::model::meta_plugin_type;

/// The name of the list, unless the list takes the name of the default network.
const NAME: &str = "plexus";
/// Keys of the daemon's configuration that the shim reads too.
const SHARED_KEYS: [&str; 2] = ["daemonSocketDir", "stateDir"];

/// Old runtimes read only `cniVersion`. New runtimes use the highest version in `cniVersions`, and
/// then also send STATUS and GC (P-068).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Conflist<'a> {
    cni_version: &'a str,
    cni_versions: [&'a str; 2],
    name: &'a str,
    plugins: Vec<&'a RawMap>,
}

/// The keys that the shim reads from its stdin. Paths are those of the host.
pub(super) fn shim_keys(fields: &Fields) -> RawMap {
    let mut keys = RawMap::new();
    for key in Settings::SHIM_KEYS.iter().copied().chain(SHARED_KEYS) {
        let Some(raw) = fields.raw(key) else { continue };
        let host_path = fields
            .string(key)
            .ok()
            .flatten()
            .filter(|_| key.ends_with("Dir"))
            .and_then(|path| to_raw_value(&on_host(path.as_ref())).ok());
        keys.insert(key.to_owned(), host_path.unwrap_or_else(|| raw.to_owned()));
    }
    keys
}

/// The text of the list for this default network. Our plugin declares the capabilities of the
/// default network, because runtimes pass arguments only for declared capabilities (C-06).
pub(super) fn render(
    shim_keys: &RawMap,
    default_network: &NetworkConfig,
    override_name: bool,
    appended: &[PluginConfig],
) -> String {
    let capabilities: BTreeMap<String, bool> = default_network
        .plugins
        .iter()
        .flat_map(PluginConfig::capabilities)
        .chain([POD_ANNOTATIONS.to_owned()])
        .map(|capability| (capability, true))
        .collect();
    let mut plugin = shim_keys.clone();
    plugin.insert("type".to_owned(), json(SHIM));
    plugin.insert("capabilities".to_owned(), json(&capabilities));
    let list = Conflist {
        cni_version: "1.0.0",
        cni_versions: ["1.0.0", "1.1.0"],
        name: if override_name {
            &default_network.name
        } else {
            NAME
        },
        plugins: [&plugin]
            .into_iter()
            .chain(appended.iter().map(PluginConfig::as_map))
            .collect(),
    };
    // Serializing maps of strings to JSON cannot fail.
    serde_json::to_string_pretty(&list).unwrap_or_default() + "\n"
}

/// The plugins that other programs appended to our list. Returns `None` if `text` is not our list,
/// or cannot be parsed.
pub(super) fn appended_plugins(text: &str) -> Option<Vec<PluginConfig>> {
    let mut list = parse(text).ok()?;
    let plugins = std::mem::take(&mut list.plugins);
    let mut is_ours = false;
    let mut appended = Vec::new();
    for plugin in plugins {
        list.plugins = vec![plugin];
        match meta_plugin_type(&list) {
            Some(_) => is_ours = true,
            None => appended.append(&mut list.plugins),
        }
    }
    is_ours.then_some(appended)
}

/// Checks that a runtime can start pods with the configuration in `text` after Plexus is
/// uninstalled.
///
/// # Errors
/// The reason why a runtime cannot.
pub(super) fn check_usable(text: &str) -> Result<(), String> {
    let network = parse(text)
        .and_then(NetworkConfig::require_plugin)
        .map_err(|error| error.to_string())?;
    // Multus chooses another default network when it is restarted.
    let is_multus = network
        .plugins
        .iter()
        .any(|plugin| is_multus(&plugin.kind()));
    match meta_plugin_type(&network) {
        Some(kind) if kind == SHIM && !is_multus => {
            Err("the configuration refers to Plexus".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether `text` is the configuration of a meta-plugin that has taken ours, the file `name`, for
/// its default network: by its path, as Multus' thick plugin does, or with a copy, as its thin
/// plugin does.
pub(super) fn refers_to(text: &str, name: &str) -> bool {
    let Ok(network) = parse(text) else {
        return false;
    };
    let is_meta_plugin = network
        .plugins
        .iter()
        .any(|plugin| is_multus(&plugin.kind()));
    let has_copy = || meta_plugin_type(&network).is_some_and(|kind| kind == SHIM);
    is_meta_plugin && (text.contains(name) || has_copy())
}

fn is_multus(kind: &str) -> bool {
    ["multus", "multus-shim"].contains(&kind)
}

/// Parses a configuration as a runtime does.
pub(super) fn parse(text: &str) -> Result<NetworkConfig, ConfigError> {
    NetworkConfig::parse(
        text,
        Defaults {
            name: None,
            version: Version::V1_0_0,
        },
    )
}

/// Whether both texts are valid and contain the same JSON, regardless of their layout.
pub(super) fn is_same_json(left: &str, right: &str) -> bool {
    let parse = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    parse(left).is_some_and(|left| Some(left) == parse(right))
}

fn json<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests;
