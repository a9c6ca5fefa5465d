//! The input of gathering: a runtime's request for a pod, and how long gathering may wait.

use plexus_api::cni::{CniArgs, RawMap};
use plexus_api::selection::POD_ANNOTATIONS;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::model::PodRef;

/// A runtime's request to attach or detach a pod.
#[derive(Debug, Clone)]
pub(crate) struct PodRequest {
    /// `CNI_IFNAME`.
    pub(crate) ifname: String,
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_ARGS`.
    pub(crate) cni_args: CniArgs,
    /// `runtimeConfig` on stdin.
    pub(crate) runtime_config: RawMap,
    /// The pod that `CNI_ARGS` names.
    pub(crate) pod: PodRef,
}

impl PodRequest {
    /// Whether the runtime passed the pod's annotations.
    pub(crate) fn has_annotations(&self) -> bool {
        self.runtime_config.contains_key(POD_ANNOTATIONS)
    }

    /// The same request for a pod that has no annotations.
    #[must_use]
    pub(crate) fn without_annotations(mut self) -> Self {
        self.runtime_config
            .insert(POD_ANNOTATIONS.to_owned(), RawValue::NULL.to_owned());
        self
    }
}

/// How long a look-up waits for an object that is not known yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct LookupDeadlines {
    /// When to stop waiting for the watches.
    pub(super) watch: Instant,
    /// When a read from the API server must end: the deadline of the call.
    pub(super) read: Instant,
}

impl LookupDeadlines {
    /// Deadlines of a look-up that does not wait.
    pub(super) fn now() -> Self {
        let now = Instant::now();
        Self {
            watch: now,
            read: now,
        }
    }
}
