//! Pods: as a runtime names them, and as the cluster knows them.

use std::collections::BTreeMap;

use plexus_api::selection::{DEFAULT_NETWORK, NETWORKS, parse_annotation};
use serde::{Deserialize, Serialize};

/// The pod of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct PodRef {
    /// `K8S_POD_NAMESPACE`.
    pub(crate) namespace: String,
    /// `K8S_POD_NAME`.
    pub(crate) name: String,
    /// `K8S_POD_UID`; empty if the runtime did not pass it.
    #[serde(default)]
    pub(crate) uid: String,
    /// Whether this is a static pod: the API server has a mirror of it, with another UID.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_static: bool,
}

impl std::fmt::Display for PodRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Records of an older plexusd may have invalid names, which logs must not take literally.
        write!(
            f,
            "{}/{}",
            self.namespace.escape_debug(),
            self.name.escape_debug()
        )
    }
}

/// A pod as the cluster knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    /// [`KEPT_ANNOTATIONS`].
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The annotation in which kubelet records the source of a pod. The value is `api` except for
/// static pods.
pub(super) const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

/// The annotations of a pod that are kept: the networks that the pod requests, and the marks of a
/// static pod and its mirror.
pub(crate) const KEPT_ANNOTATIONS: [&str; 4] = [
    NETWORKS,
    DEFAULT_NETWORK,
    CONFIG_SOURCE,
    "kubernetes.io/config.mirror",
];

impl Pod {
    /// Namespace and name of each definition that the annotations of the pod name. A default network
    /// without a namespace is looked up in `multus_namespace`.
    pub(crate) fn selected_definitions(&self, multus_namespace: &str) -> Vec<(String, String)> {
        let annotations = [
            (NETWORKS, self.namespace.as_str()),
            (DEFAULT_NETWORK, multus_namespace),
        ];
        let elements = annotations.into_iter().filter_map(|(key, namespace)| {
            let text = self.annotations.get(key)?;
            parse_annotation(key, text, namespace).ok()
        });
        let elements = elements.flatten();
        elements.map(|one| (one.namespace, one.name)).collect()
    }

    /// Whether this can be the pod that the runtime calls `uid`, and not another pod of the same
    /// name (P-019). A pod without a UID matches every UID, and so does a static pod: its mirror
    /// has another UID.
    pub(crate) fn matches_uid(&self, uid: &str) -> bool {
        uid.is_empty() || self.uid.is_empty() || self.uid == uid || self.is_static()
    }

    /// Whether this is the mirror of a static pod.
    pub(crate) fn is_static(&self) -> bool {
        self.annotations
            .get(CONFIG_SOURCE)
            .is_some_and(|source| source != "api")
    }
}
