//! The input of a plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use plexus_api::cni::CniArgs;
use plexus_api::json::RawMap;
use plexus_api::selection::Selection;

use crate::config::AllowedPluginTypes;
use crate::model::{Devices, Network, PodRef};

#[derive(Debug, Clone)]
pub(crate) struct PlanInput {
    /// `CNI_IFNAME` of the call: the interface of the default network.
    pub(crate) ifname: String,
    /// `CNI_CONTAINERID` of the call.
    pub(crate) container_id: String,
    /// The names of the links that are already in the sandbox.
    pub(crate) links: BTreeSet<String>,
    pub(crate) pod: PodRef,
    /// `CNI_ARGS` of the call.
    pub(crate) cni_args: CniArgs,
    /// `runtimeConfig` of the call, for the default network only (K-064).
    pub(crate) runtime_config: RawMap,
    pub(crate) default_network: Network,
    /// The element of the annotation that replaces the default network. `None` if the default
    /// network is the node's.
    pub(crate) default_selection: Option<Selection>,
    /// The networks that every pod gets, in order.
    pub(crate) common_networks: Vec<Network>,
    /// The networks that the pod selects, in order.
    pub(crate) selected: Vec<SelectedNetwork>,
    /// The plugins of `auxiliaryCNIChainName`, which run last.
    pub(crate) auxiliary_chain: Option<Network>,
    /// The devices of the pod, for each resource of its networks. Empty for a DEL without a record,
    /// which never asks for devices (D-048).
    pub(crate) devices: Devices,
    pub(crate) policy: Policy,
    /// The network names that definitions may not take. `None` without namespace isolation.
    pub(crate) network_names: Option<NetworkNames>,
}

/// Networks whose name inside the configuration is that of a selected network.
#[derive(Debug, Clone, Default)]
pub(crate) struct NetworkNames {
    /// The networks that the node's configuration names.
    pub(crate) of_node: Vec<Arc<Network>>,
    /// The namespace whose definitions may have any name.
    pub(crate) trusted_namespace: String,
    pub(crate) definitions: Vec<NamedDefinition>,
}

/// A definition and the name of its network.
#[derive(Debug, Clone)]
pub(crate) struct NamedDefinition {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The name inside the configuration.
    pub(crate) network: String,
    /// The creation time in seconds since 1970. `None` for a definition of a manifest.
    pub(crate) created: Option<i64>,
}

impl NamedDefinition {
    /// `namespace/name`.
    pub(super) fn label(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether the network has the name of the definition, which is the default.
    pub(super) fn has_own_name(&self) -> bool {
        self.network == self.name
    }

    /// Orders definitions from old to new, and those of the same time by their right to the name.
    pub(super) fn age(&self) -> (Option<i64>, bool, &str, &str) {
        (
            self.created,
            !self.has_own_name(),
            &self.namespace,
            &self.name,
        )
    }
}

/// An element of the annotation and its network.
#[derive(Debug, Clone)]
pub(crate) struct SelectedNetwork {
    pub(crate) selection: Selection,
    pub(crate) network: Network,
}

/// The restrictions in the node's configuration.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Whether a requested capability that no plugin declares is an error instead of a warning.
    pub(crate) strict: bool,
    /// Whether pods may use definitions of their own namespace and of `global_namespaces` only.
    pub(crate) namespace_isolation: bool,
    /// The namespaces whose definitions every pod may use.
    pub(crate) global_namespaces: BTreeSet<String>,
    /// The namespaces whose definitions may replace the default network. `None` for all namespaces.
    pub(crate) default_network_namespaces: Option<BTreeSet<String>>,
    /// The namespaces whose pods may request `portMappings`. `None` for all namespaces.
    pub(crate) port_mapping_namespaces: Option<BTreeSet<String>>,
    /// The plugin types in definitions, at any depth. `None` for all types.
    pub(crate) allowed_plugin_types: Option<AllowedPluginTypes>,
}

/// A network that the sandbox will be attached to.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedNetwork<'a> {
    pub(super) network: &'a Network,
    /// The element of the annotation. `None` for networks that every pod gets.
    pub(super) selection: Option<&'a Selection>,
    /// Whether this is the default network.
    pub(super) default: bool,
    /// Whether this is the auxiliary chain.
    pub(super) auxiliary: bool,
}

impl PlannedNetwork<'_> {
    /// The size of the attachment's configuration in bytes, with what the pod adds to each plugin.
    pub(super) fn size(&self) -> usize {
        let config = &self.network.config;
        let added = self.selection.map_or(0, Selection::size);
        config.size() + config.plugins.len() * added
    }
}

impl PlanInput {
    /// All networks, in the order of their attachments.
    pub(super) fn networks(&self) -> impl Iterator<Item = PlannedNetwork<'_>> {
        let planned = |network, selection| PlannedNetwork {
            network,
            selection,
            default: false,
            auxiliary: false,
        };
        let default = PlannedNetwork {
            default: true,
            ..planned(&self.default_network, self.default_selection.as_ref())
        };
        let common = self
            .common_networks
            .iter()
            .map(move |network| planned(network, None));
        let selected = self
            .selected
            .iter()
            .map(move |selected| planned(&selected.network, Some(&selected.selection)));
        let auxiliary = self
            .auxiliary_chain
            .iter()
            .map(move |network| PlannedNetwork {
                auxiliary: true,
                ..planned(network, None)
            });
        std::iter::once(default)
            .chain(common)
            .chain(selected)
            .chain(auxiliary)
    }
}
