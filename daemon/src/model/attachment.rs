//! One attachment: all that is needed to call its plugins on any verb, and what the ledger keeps of it.

use std::net::IpAddr;

use plexus_api::cni::{NetworkConfig, RawMap};
use serde::{Deserialize, Serialize};

/// One network of one sandbox, ready to be executed. It is recorded before the first plugin runs and used unchanged
/// on ADD, CHECK and DEL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attachment {
    /// The name that network-status shows: `namespace/name` of the definition, or the name of a network on disk.
    pub(crate) network: String,
    /// `CNI_IFNAME` for the plugins.
    pub(crate) ifname: String,
    /// Whether this is the pod's default network, whose result goes to the runtime.
    #[serde(default)]
    pub(crate) default: bool,
    /// `CNI_ARGS` for the plugins.
    pub(crate) cni_args: String,
    /// Capability arguments by capability; each plugin gets those that it declares.
    #[serde(default)]
    pub(crate) capability_args: RawMap,
    /// The plugins and their configuration, final but for what each call adds.
    pub(crate) config: NetworkConfig,
}

impl Attachment {
    /// The words by which an error says which attachment it is about.
    pub(crate) fn place(&self) -> String {
        place(&self.network, &self.ifname)
    }
}

/// The words by which an error says which network and interface it is about.
pub(crate) fn place(network: &str, ifname: &str) -> String {
    format!("network {network:?} interface {ifname:?}")
}

/// Which attachment owns the sandbox's default route, by family; none where no element of the annotation asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DefaultRoutes {
    /// The owner of the IPv4 default route.
    #[serde(default)]
    pub(crate) v4: Option<RouteOwner>,
    /// The owner of the IPv6 default route.
    #[serde(default)]
    pub(crate) v6: Option<RouteOwner>,
}

/// The attachment that owns a default route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteOwner {
    /// Its index in the plan.
    pub(crate) attachment: usize,
    /// The gateway that replaces its own; none keeps its own, and leaves the others alone where it has none.
    pub(crate) gateway: Option<IpAddr>,
}
