//! The network names that definitions may not take while namespace isolation is on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Sources;
use crate::config::Settings;
use crate::model::Network;
use crate::plan::{NamedDefinition, NetworkNames};

/// The networks of the node and of definitions that have the name of a selected network. `common`
/// are the networks that every pod gets beside its default network.
pub(super) fn collect<'a>(
    sources: Sources<'_>,
    settings: &Settings,
    common: impl Iterator<Item = &'a Network>,
    selected: impl Iterator<Item = &'a Network>,
) -> NetworkNames {
    let names: BTreeSet<&str> = selected
        .map(|network| network.config.name.as_str())
        .collect();
    if names.is_empty() {
        return NetworkNames::default();
    }
    let default_network = sources.default_network.current().ok();
    let common = common.cloned().map(Arc::new);
    let definitions = sources.store.definitions();
    let definitions = definitions.iter().filter_map(|definition| {
        let network = definition.network_name();
        names.contains(network).then(|| NamedDefinition {
            namespace: definition.namespace.clone(),
            name: definition.name.clone(),
            network: network.to_owned(),
            created: definition.created,
        })
    });
    NetworkNames {
        of_node: default_network.into_iter().chain(common).collect(),
        trusted_namespace: settings.multus_namespace.clone(),
        definitions: definitions.collect(),
    }
}
