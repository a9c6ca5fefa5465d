//! What planning looks at: all that is known about a call, read once.

use std::collections::BTreeSet;

use plexus_api::cni::{CniArgs, RawMap};
use plexus_api::selection::Selection;

use crate::model::{Network, PodRef};

/// All that the decision needs.
#[derive(Debug, Clone)]
pub(crate) struct PlanInput {
    /// `CNI_IFNAME` of the runtime: the default network's interface.
    pub(crate) ifname: String,
    /// The names of the links that are in the sandbox already.
    pub(crate) links: BTreeSet<String>,
    /// The pod.
    pub(crate) pod: PodRef,
    /// `CNI_ARGS` of the runtime.
    pub(crate) cni_args: CniArgs,
    /// `runtimeConfig` of the runtime, for the default network alone (K-064).
    pub(crate) runtime_config: RawMap,
    /// The default network.
    pub(crate) default: Network,
    /// The element of the annotation that replaced it, where there is one.
    pub(crate) default_selection: Option<Selection>,
    /// Networks that every pod gets, before those that it selects.
    pub(crate) everywhere: Vec<Network>,
    /// The networks that the pod selects, in order.
    pub(crate) selected: Vec<Selected>,
    /// What the node's configuration allows.
    pub(crate) policy: Policy,
}

/// One element of the annotation and the network that it names.
#[derive(Debug, Clone)]
pub(crate) struct Selected {
    /// What the pod asks for.
    pub(crate) selection: Selection,
    /// The network.
    pub(crate) network: Network,
}

/// What the node's configuration allows.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// A requested capability that no plugin declares is an error, not a warning.
    pub(crate) strict: bool,
    /// Pods use definitions of their own namespace and of `global_namespaces` only.
    pub(crate) namespace_isolation: bool,
    /// Namespaces whose definitions every pod may use.
    pub(crate) global_namespaces: BTreeSet<String>,
    /// Namespaces whose definitions may replace the default network; none: any.
    pub(crate) default_network_namespaces: Option<BTreeSet<String>>,
    /// Plugin types that definitions may name, `ipam.type` included; none: any.
    pub(crate) allowed_plugin_types: Option<BTreeSet<String>>,
}

/// One network of the plan, and the element of the annotation that asked for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// The network.
    pub(crate) network: &'a Network,
    /// The element; none for what every pod gets.
    pub(crate) selection: Option<&'a Selection>,
    /// Whether it is the default network.
    pub(crate) default: bool,
}

impl PlanInput {
    /// The networks in the order of their attachment.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let default = Part {
            network: &self.default,
            selection: self.default_selection.as_ref(),
            default: true,
        };
        let everywhere = self.everywhere.iter().map(|network| Part {
            network,
            selection: None,
            default: false,
        });
        let selected = self.selected.iter().map(|selected| Part {
            network: &selected.network,
            selection: Some(&selected.selection),
            default: false,
        });
        std::iter::once(default).chain(everywhere).chain(selected)
    }
}
