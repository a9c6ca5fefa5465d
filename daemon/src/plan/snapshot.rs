//! What planning looks at: all that is known about a call, read once.

use std::collections::{BTreeMap, BTreeSet};

use plexus_api::cni::{CniArgs, NetworkConfig, RawMap};
use plexus_api::selection::Selection;

use super::PodRef;

/// All that the decision needs.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// `CNI_IFNAME` of the runtime: the default network's interface.
    pub ifname: String,
    /// The names of the links that are in the sandbox already.
    pub links: BTreeSet<String>,
    /// The pod.
    pub pod: PodRef,
    /// `CNI_ARGS` of the runtime.
    pub cni_args: CniArgs,
    /// `runtimeConfig` of the runtime, for the default network alone (K-064).
    pub runtime_config: RawMap,
    /// The default network.
    pub default: Network,
    /// The element of the annotation that replaced it, where there is one.
    pub default_selection: Option<Selection>,
    /// Networks that every pod gets, before those that it selects.
    pub everywhere: Vec<Network>,
    /// The networks that the pod selects, in order.
    pub selected: Vec<Selected>,
    /// What the node's configuration allows.
    pub policy: Policy,
}

/// One element of the annotation and the network that it names.
#[derive(Debug, Clone)]
pub struct Selected {
    /// What the pod asks for.
    pub selection: Selection,
    /// The network.
    pub network: Network,
}

/// A network that was found.
#[derive(Debug, Clone)]
pub struct Network {
    /// The name that network-status shows: `namespace/name`, or the name of a network on disk.
    pub name: String,
    /// The namespace of the definition; none for a network on disk.
    pub namespace: Option<String>,
    /// Its configuration.
    pub config: NetworkConfig,
}

/// A pod as the cluster knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The annotation by which kubelet says where it has a pod from; `api` for all but static pods.
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

impl Pod {
    /// Whether a runtime that calls its pod `uid` can mean this one, and not another of that name (P-019). Without both
    /// UIDs nothing speaks against it; the mirror of a static pod never has its UID.
    pub fn answers_to(&self, uid: &str) -> bool {
        uid.is_empty() || self.uid.is_empty() || self.uid == uid || self.is_static()
    }

    /// Whether it is the mirror of a pod that kubelet has from elsewhere.
    pub fn is_static(&self) -> bool {
        self.annotations
            .get(CONFIG_SOURCE)
            .is_some_and(|source| source != "api")
    }
}

/// What the node's configuration allows.
#[derive(Debug, Clone)]
pub struct Policy {
    /// A requested capability that no plugin declares is an error, not a warning.
    pub strict: bool,
    /// Pods use definitions of their own namespace and of `global_namespaces` only.
    pub namespace_isolation: bool,
    /// Namespaces whose definitions every pod may use.
    pub global_namespaces: BTreeSet<String>,
    /// Namespaces whose definitions may replace the default network; none: any.
    pub default_network_namespaces: Option<BTreeSet<String>>,
    /// Plugin types that definitions may name, `ipam.type` included; none: any.
    pub allowed_plugin_types: Option<BTreeSet<String>>,
}

/// One network of the plan, and the element of the annotation that asked for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    /// The network.
    pub network: &'a Network,
    /// The element; none for what every pod gets.
    pub selection: Option<&'a Selection>,
    /// Whether it is the default network.
    pub default: bool,
}

impl Snapshot {
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
