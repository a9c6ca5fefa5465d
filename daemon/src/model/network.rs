//! Networks that a pod can be attached to.

use std::sync::Arc;

use plexus_api::cni::NetworkConfig;

/// A network with its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// The name in network-status: `namespace/name`, or the name of a network on disk.
    pub(crate) name: String,
    /// The namespace of the definition. `None` for a network on disk.
    pub(crate) namespace: Option<String>,
    /// The resource of a device plugin that the definition names (D-001).
    pub(crate) resource_name: Option<String>,
    /// Shared by all networks and attachments of one definition.
    pub(crate) config: Arc<NetworkConfig>,
}
