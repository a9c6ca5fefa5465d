//! Network-attachment-definitions, reduced to what the daemon uses.

use serde::{Deserialize, Serialize};

/// The annotation of a definition that names a device plugin's resource.
pub(super) const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";

/// A network-attachment-definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Definition {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `spec.config`. The specification makes both `spec` and `config` optional (K-002).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<String>,
    /// The value of the annotation `k8s.v1.cni.cncf.io/resourceName`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resource_name: Option<String>,
}
