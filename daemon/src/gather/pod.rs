//! The pod of a call.

use std::collections::BTreeMap;

use plexus_api::cni::{CniError, Code};
use tokio::time::Instant;

use super::Asked;
use super::cluster::Store;
use crate::plan::Pod;

/// The capability by which a runtime passes the pod's annotations with the call.
pub(super) const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// The pod with its annotations: those that came with the call, where the runtime passes them (decision 5: `null` is
/// a pod without any), else the pod that the cluster knows, waited for until `deadline`.
pub(super) async fn find(store: &Store, asked: &Asked, deadline: Instant) -> Result<Pod, CniError> {
    let pod = &asked.pod;
    if let Some(raw) = asked.runtime_config.get(ANNOTATIONS) {
        let annotations: Option<BTreeMap<String, String>> = serde_json::from_str(raw.get()).map_err(|error| {
            let msg = format!("runtimeConfig key {ANNOTATIONS:?} is not a map of strings: {error}");
            CniError::new(Code::InvalidConfig, msg)
        })?;
        return Ok(Pod {
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            uid: pod.uid.clone(),
            annotations: annotations.unwrap_or_default(),
        });
    }
    if let Some(known) = store.wait_pod(&pod.namespace, &pod.name, deadline).await {
        return Ok(known.as_ref().clone());
    }
    let msg = "the pod is not known on this node, and the runtime did not pass its annotations; the call can be tried \
               again once the pod is there";
    Err(CniError::new(Code::TryAgain, msg))
}
