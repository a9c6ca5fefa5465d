//! Isolation of the network names inside configurations. Plugins keep their state by this name: two
//! networks of the same name share leases and other state.

use plexus_api::cni::{CniError, Code};

use super::input::{NamedDefinition, PlanInput, PlannedNetwork};
use crate::model::Network;

/// Refuses a definition whose network has the name of a network of the node, or of an older or
/// trusted definition in another namespace (decision 6).
///
/// A definition and its copies in other namespaces may share their own name as the network name, as
/// with Multus.
pub(super) fn check(
    input: &PlanInput,
    planned: &PlannedNetwork<'_>,
    namespace: &str,
) -> Result<(), CniError> {
    let Some(names) = &input.network_names else {
        return Ok(());
    };
    if namespace == names.trusted_namespace {
        return Ok(());
    }
    let network = planned.network;
    let is_same = |one: &Network, other: &Network| {
        (&one.name, &one.namespace) == (&other.name, &other.namespace)
    };
    let taken = |owner: String| {
        let msg = format!(
            "namespace isolation is on: its network name {:?} is that of {owner}, and plugins keep \
             their state by this name; set another \"name\" in its configuration",
            network.config.name
        );
        Err(CniError::new(Code::Forbidden, msg))
    };
    let of_node = names
        .of_node
        .iter()
        .find(|node| node.config.name == network.config.name && !is_same(node, network));
    if let Some(owner) = of_node {
        return taken(format!(
            "network {:?}, which every pod may have",
            owner.name
        ));
    }
    let is_this = |definition: &&NamedDefinition| {
        definition.namespace == namespace && definition.label() == network.name
    };
    // A definition that is not in the store was created a moment ago.
    let this = names.definitions.iter().find(is_this);
    let own_name = network.name == format!("{namespace}/{}", network.config.name);
    let owner = names.definitions.iter().find(|other| {
        other.network == network.config.name
            && other.namespace != namespace
            && !(own_name && other.has_own_name())
            && (other.namespace == names.trusted_namespace
                || this.is_none_or(|this| other.age() < this.age()))
    });
    match owner {
        Some(owner) => taken(format!("definition {:?}", owner.label())),
        None => Ok(()),
    }
}
