//! The network-status annotation (multi-network specification 1.3, section 5).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cni::Dns;

/// The annotation that tells what a pod is attached to.
pub const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// One entry of the annotation; the keys, their order and which are omitted are what Multus writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// `namespace/name` of the definition, or the name of a network on disk.
    pub name: String,
    /// The interface in the pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// Addresses without prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<String>,
    /// The hardware address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The MTU, where the plugin told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether this is the pod's default network; exactly one entry is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Name resolution; always printed.
    #[serde(default)]
    pub dns: Dns,
    /// The device, as its device-information file has it.
    #[serde(default, rename = "device-info", skip_serializing_if = "Option::is_none")]
    pub device_info: Option<Box<RawValue>>,
    /// Gateways of the default routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<String>,
}
