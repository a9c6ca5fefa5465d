//! Detection of meta-plugins: a network with a plugin that is Plexus or Multus would call Plexus
//! again within the same call.

use plexus_api::cni::{NetworkConfig, PluginConfig};

/// The plugin types that call Plexus.
const META_PLUGINS: [&str; 3] = ["plexus", "multus", "multus-shim"];

/// The first plugin type in `config`, at any depth, that is a meta-plugin (K-071). Returns `None`
/// if there is none.
pub(crate) fn meta_plugin_type(config: &NetworkConfig) -> Option<String> {
    config
        .plugins
        .iter()
        .flat_map(PluginConfig::types)
        .find(|kind| META_PLUGINS.contains(&kind.as_str()))
}

#[cfg(test)]
mod tests;
