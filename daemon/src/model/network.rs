//! A network that a pod can be attached to.

use plexus_api::cni::NetworkConfig;

/// A network that was found.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// The name that network-status shows: `namespace/name`, or the name of a network on disk.
    pub(crate) name: String,
    /// The namespace of the definition; none for a network on disk.
    pub(crate) namespace: Option<String>,
    /// Its configuration.
    pub(crate) config: NetworkConfig,
}
