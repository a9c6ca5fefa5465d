//! One attachment: all that is needed to call its plugins on any verb, and what the ledger keeps of it.

use std::net::IpAddr;

use plexus_api::cni::{NetworkConfig, RawMap};
use serde::{Deserialize, Serialize};

/// One network of one sandbox, ready to be executed. It is recorded before the first plugin runs and used unchanged
/// on ADD, CHECK and DEL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// The name that network-status shows: `namespace/name` of the definition, or the name of a network on disk.
    pub network: String,
    /// `CNI_IFNAME` for the plugins.
    pub ifname: String,
    /// Whether this is the pod's default network, whose result goes to the runtime.
    #[serde(default)]
    pub default: bool,
    /// `CNI_ARGS` for the plugins.
    pub cni_args: String,
    /// Capability arguments by capability; each plugin gets those that it declares.
    #[serde(default)]
    pub capability_args: RawMap,
    /// The plugins and their configuration, final but for what each call adds.
    pub config: NetworkConfig,
}

impl Attachment {
    /// The words by which an error says which attachment it is about.
    pub fn place(&self) -> String {
        place(&self.network, &self.ifname)
    }
}

/// The words by which an error says which network and interface it is about.
pub fn place(network: &str, ifname: &str) -> String {
    format!("network {network:?} interface {ifname:?}")
}

/// The pod that a sandbox belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`; empty where the runtime did not say.
    #[serde(default)]
    pub uid: String,
    /// Whether kubelet has it from elsewhere than the API server, which then has a mirror of it under another UID.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_static: bool,
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Records of an older plexusd may have names that are none, and logs take them as they are.
        write!(
            f,
            "{}/{}",
            self.namespace.escape_debug(),
            self.name.escape_debug()
        )
    }
}

/// Which attachment owns the sandbox's default route, by family; none where no element of the annotation asks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRoutes {
    /// The owner of the IPv4 default route.
    #[serde(default)]
    pub v4: Option<RouteOwner>,
    /// The owner of the IPv6 default route.
    #[serde(default)]
    pub v6: Option<RouteOwner>,
}

/// The attachment that owns a default route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteOwner {
    /// Its index in the plan.
    pub attachment: usize,
    /// The gateway that replaces its own; none keeps its own, and leaves the others alone where it has none.
    pub gateway: Option<IpAddr>,
}

/// What identifies a network namespace: device and inode of its file while it exists, and the kernel's cookie for this
/// boot. Inodes are given again soon after its end, cookies are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetnsId {
    /// The device of the namespace file system.
    pub dev: u64,
    /// The inode of the namespace.
    pub ino: u64,
    /// Its cookie; none on a kernel before 5.14.
    #[serde(default)]
    pub cookie: Option<u64>,
}

impl NetnsId {
    /// Whether both may be the same: only where both have a cookie is that certain.
    pub fn may_be(&self, other: Self) -> bool {
        let cookies = self.cookie.zip(other.cookie);
        (self.dev, self.ino) == (other.dev, other.ino)
            && cookies.is_none_or(|(own, other)| own == other)
    }
}
