//! Pods: as the runtime names them, and as the cluster knows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The pod that a sandbox belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodRef {
    /// `K8S_POD_NAMESPACE`.
    pub(crate) namespace: String,
    /// `K8S_POD_NAME`.
    pub(crate) name: String,
    /// `K8S_POD_UID`; empty where the runtime did not say.
    #[serde(default)]
    pub(crate) uid: String,
    /// Whether kubelet has it from elsewhere than the API server, which then has a mirror of it under another UID.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_static: bool,
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

/// A pod as the cluster knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Its name.
    pub(crate) name: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its UID.
    pub(crate) uid: String,
    /// Its annotations.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The annotation by which kubelet says where it has a pod from; `api` for all but static pods.
pub(crate) const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

impl Pod {
    /// Whether a runtime that calls its pod `uid` can mean this one, and not another of that name (P-019). Without both
    /// UIDs nothing speaks against it; the mirror of a static pod never has its UID.
    pub(crate) fn answers_to(&self, uid: &str) -> bool {
        uid.is_empty() || self.uid.is_empty() || self.uid == uid || self.is_static()
    }

    /// Whether it is the mirror of a pod that kubelet has from elsewhere.
    pub(crate) fn is_static(&self) -> bool {
        self.annotations
            .get(CONFIG_SOURCE)
            .is_some_and(|source| source != "api")
    }
}
