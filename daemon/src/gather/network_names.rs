//! The network names that definitions may not take while namespace isolation is on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::GatherError;
use super::networks::Lookup;
use super::{Sources, node_default_network};
use crate::plan::{NamedDefinition, NetworkNames, PlanInput};

/// The networks of the node and of definitions that have the name of a selected network.
///
/// # Errors
/// The default network or the definitions are not known, so that a name could be taken unnoticed.
pub(super) async fn collect(
    input: &PlanInput,
    sources: Sources<'_>,
    lookup: &Lookup<'_>,
) -> Result<NetworkNames, GatherError> {
    let replacement = input.default_selection.as_ref();
    let replacement = replacement.map(|_| &input.default_network);
    let selected = input.selected.iter().map(|selected| &selected.network);
    let names: BTreeSet<&str> = replacement
        .into_iter()
        .chain(selected)
        .map(|network| network.config.name.as_str())
        .collect();
    if names.is_empty() {
        return Ok(NetworkNames::default());
    }
    let default_network = match replacement {
        None => Some(input.default_network.clone()),
        Some(_) => match Box::pin(node_default_network(sources.default_network, lookup)).await {
            Err(GatherError::NoDefaultNetworkConfigured) => None,
            network => Some(network.map_err(|error| {
                error.context("namespace isolation needs the name of the node's default network")
            })?),
        },
    };
    if !sources.store.wait_definitions(lookup.deadlines.watch).await {
        return Err(GatherError::DefinitionsPending);
    }
    let others = input.common_networks.iter().chain(&input.auxiliary_chain);
    let of_node = default_network.into_iter().chain(others.cloned());
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
    Ok(NetworkNames {
        of_node: of_node.map(Arc::new).collect(),
        trusted_namespace: lookup.settings.multus_namespace.clone(),
        definitions: definitions.collect(),
    })
}
