//! The configuration that we publish: one list, our plugin first, then what others appended. Pure.

use std::collections::BTreeMap;

use plexus_api::cni::{Defaults, NetworkConfig, PluginConfig, RawMap, Version};
use plexus_api::selection::POD_ANNOTATIONS;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::SHIM;
use crate::config::{Fields, Settings, on_host};
use crate::model::refers_to_us;

/// The name of our list, unless it takes that of the default network.
const NAME: &str = "plexus";
/// The keys of the daemon's file that the shim reads, too.
const SHARED_KEYS: [&str; 2] = ["daemonSocketDir", "stateDir"];

/// Old runtimes know `cniVersion` alone; new ones take the highest of both, and ask STATUS and GC then (P-068).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    cni_version: &'a str,
    cni_versions: [&'a str; 2],
    name: &'a str,
    plugins: Vec<&'a RawMap>,
}

/// The keys that the shim finds on its stdin, with the paths as the host knows them.
pub(super) fn shim_keys(fields: &Fields) -> RawMap {
    let mut keys = RawMap::new();
    for key in Settings::SHIM_KEYS.iter().copied().chain(SHARED_KEYS) {
        let Some(raw) = fields.raw(key) else { continue };
        let path = fields
            .text(key)
            .ok()
            .flatten()
            .filter(|_| key.ends_with("Dir"));
        let on_host = path.and_then(|path| to_raw_value(&on_host(path.as_ref())).ok());
        keys.insert(key.to_owned(), on_host.unwrap_or_else(|| raw.to_owned()));
    }
    keys
}

/// The text of our list for this default network. It declares what that one does: runtimes pass nothing else (C-06).
pub(super) fn render(
    shim_keys: &RawMap,
    default_network: &NetworkConfig,
    rename: bool,
    others: &[PluginConfig],
) -> String {
    let mut capabilities: BTreeMap<String, bool> = default_network
        .plugins
        .iter()
        .flat_map(PluginConfig::capabilities)
        .map(|capability| (capability, true))
        .collect();
    capabilities.insert(POD_ANNOTATIONS.to_owned(), true);
    let mut plugin = shim_keys.clone();
    plugin.insert("type".to_owned(), json(SHIM));
    plugin.insert("capabilities".to_owned(), json(&capabilities));
    let list = List {
        cni_version: "1.0.0",
        cni_versions: ["1.0.0", "1.1.0"],
        name: if rename { &default_network.name } else { NAME },
        plugins: [&plugin]
            .into_iter()
            .chain(others.iter().map(PluginConfig::as_map))
            .collect(),
    };
    // Maps of strings to JSON can always be written.
    serde_json::to_string_pretty(&list).unwrap_or_default() + "\n"
}

/// The plugins that others appended to the list in `text`; none where it is not ours, or broken.
pub(super) fn others(text: &str) -> Option<Vec<PluginConfig>> {
    let mut list = NetworkConfig::parse(
        text,
        Defaults {
            name: None,
            version: Version::V1_0_0,
        },
    )
    .ok()?;
    let plugins = std::mem::take(&mut list.plugins);
    let mut ours = false;
    let mut others = Vec::new();
    for plugin in plugins {
        list.plugins = vec![plugin];
        match refers_to_us(&list) {
            Some(_) => ours = true,
            None => others.append(&mut list.plugins),
        }
    }
    ours.then_some(others)
}

/// Whether a runtime can start pods by the configuration in `text` without us; why not.
pub(super) fn usable(text: &str) -> Result<(), String> {
    let parsed = NetworkConfig::parse(
        text,
        Defaults {
            name: None,
            version: Version::V1_0_0,
        },
    );
    let network = parsed
        .and_then(NetworkConfig::require_plugin)
        .map_err(|error| error.to_string())?;
    match refers_to_us(&network) {
        Some(kind) if kind == SHIM => Err("it leads back to Plexus".to_owned()),
        _ => Ok(()),
    }
}

/// Whether both say the same.
pub(super) fn same(one: &str, two: &str) -> bool {
    let parse = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    parse(one).is_some_and(|one| Some(one) == parse(two))
}

fn json<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests;
