//! The attachment of a sandbox to a network.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use plexus_api::cni::{CniResult, NetworkConfig};
use plexus_api::json::RawMap;
use serde::{Deserialize, Serialize};

/// The attachment of a sandbox to a network, with everything that its plugins are called with.
/// Recorded before the first plugin runs, and used unchanged for ADD, CHECK and DEL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of the record")]
pub(crate) struct Attachment {
    /// The name in network-status: `namespace/name` of the definition, or the name of a network on
    /// disk.
    pub(crate) network: String,
    /// `CNI_IFNAME` of the plugins.
    pub(crate) ifname: String,
    /// Whether this is the pod's default network. The runtime gets its result.
    #[serde(default)]
    pub(crate) default: bool,
    /// Whether this is the auxiliary chain. Its first plugin gets an empty result as `prevResult`,
    /// and an empty result is not reported.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) auxiliary: bool,
    /// Whether the pod selected the network by an annotation. Other networks are those of every
    /// pod.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) selected: bool,
    /// Whether the annotation names the interface.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) interface_requested: bool,
    /// A digest of the parameters in the annotation, to detect that they have changed since. `None`
    /// without an element of the annotation, or if an older plexusd wrote the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parameters_digest: Option<u64>,
    #[serde(default, skip_serializing_if = "Origin::is_add")]
    pub(crate) origin: Origin,
    /// The resource of the definition (D-030).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource_name: Option<String>,
    /// The device that the plugins get. Their configuration has it as well (D-031).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device_id: Option<String>,
    /// The device-info file (D-002). `None` if the attachment has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device_info_file: Option<PathBuf>,
    /// `CNI_ARGS` of the plugins.
    pub(crate) cni_args: String,
    /// Capability arguments. Each plugin gets those that it declares.
    #[serde(default)]
    pub(crate) capability_args: RawMap,
    /// The plugins and their configuration, without the keys that each call adds.
    pub(crate) config: Arc<NetworkConfig>,
}

impl Attachment {
    /// An attachment with this configuration alone: not selected by the pod, without arguments and
    /// without a device.
    pub(crate) fn new(
        network: impl Into<String>,
        ifname: impl Into<String>,
        config: impl Into<Arc<NetworkConfig>>,
    ) -> Self {
        Self {
            network: network.into(),
            ifname: ifname.into(),
            default: false,
            auxiliary: false,
            selected: false,
            interface_requested: false,
            parameters_digest: None,
            origin: Origin::Add,
            resource_name: None,
            device_id: None,
            device_info_file: None,
            cni_args: String::new(),
            capability_args: RawMap::new(),
            config: config.into(),
        }
    }

    /// See [`attachment_label`].
    pub(crate) fn label(&self) -> String {
        attachment_label(&self.network, &self.ifname)
    }

    /// Whether network-status and the events mention this attachment. An auxiliary chain usually
    /// has no interface.
    pub(crate) fn is_reported(&self, result: &CniResult) -> bool {
        !self.auxiliary || !result.interfaces.is_empty() || !result.ips.is_empty()
    }

    /// Whether the network is that of a definition, and not one on the node's disk, whose name has
    /// no `/`.
    pub(crate) fn has_definition(&self) -> bool {
        self.network.contains('/')
    }
}

/// The call that made an attachment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Origin {
    /// The ADD of the sandbox.
    #[default]
    Add,
    /// A change of the annotation of the running pod.
    Annotation,
    /// A program that sent `/delegate`.
    Delegate,
}

impl Origin {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_add(&self) -> bool {
        *self == Self::Add
    }
}

/// The prefix of errors about one attachment: its network and interface.
pub(crate) fn attachment_label(network: &str, ifname: &str) -> String {
    format!("network {network:?} interface {ifname:?}")
}

/// The attachments that own the sandbox's default routes. `None` if no element of the annotation
/// has `default-route`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DefaultRoutes {
    #[serde(default)]
    pub(crate) v4: Option<RouteOwner>,
    #[serde(default)]
    pub(crate) v6: Option<RouteOwner>,
}

/// The attachment that owns a default route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteOwner {
    /// The attachment's index in the plan.
    pub(crate) attachment: usize,
    /// The gateway that replaces the attachment's own one. Without a gateway the attachment keeps
    /// its default route; if it has none, the routes of the other attachments stay as they are.
    pub(crate) gateway: Option<IpAddr>,
}
