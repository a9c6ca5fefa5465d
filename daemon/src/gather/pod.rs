//! The pod of a call.

use std::collections::BTreeMap;

use plexus_api::cni::{CniError, Code};
use plexus_api::selection::POD_ANNOTATIONS;

use super::{Deadlines, PodRequest};
use crate::cluster::Store;
use crate::cluster::kube::Live;
use crate::model::{Pod, PodRef};

/// The pod with its annotations: those that came with the call, where the runtime passes them (decision 5: `null` is
/// a pod without any), else the pod that the cluster knows, waited for until `deadline` and then asked for once.
pub(super) async fn find(
    store: &Store,
    live: Option<&Live>,
    asked: &PodRequest,
    deadlines: Deadlines,
) -> Result<Pod, CniError> {
    let PodRef {
        namespace,
        name,
        uid,
        ..
    } = &asked.pod;
    if let Some(raw) = asked.runtime_config.get(POD_ANNOTATIONS) {
        let annotations: Option<BTreeMap<String, String>> = serde_json::from_str(raw.get())
            .map_err(|error| {
                let msg = format!(
                    "runtimeConfig key {POD_ANNOTATIONS:?} is not a map of strings: {error}"
                );
                CniError::new(Code::InvalidConfig, msg)
            })?;
        return Ok(Pod {
            name: name.clone(),
            namespace: namespace.clone(),
            uid: uid.clone(),
            annotations: annotations.unwrap_or_default(),
        });
    }
    if let Some(known) = store
        .wait_pod(namespace, name, deadlines.watch, |pod| pod.answers_to(uid))
        .await
    {
        return Ok(known.as_ref().clone());
    }
    let found = match live {
        None => store.pod(namespace, name).map(|pod| pod.as_ref().clone()),
        Some(live) => live.pod(namespace, name, deadlines.call).await?,
    };
    let msg = match found {
        Some(pod) if pod.answers_to(uid) => return Ok(pod),
        Some(pod) => format!(
            "the cluster's pod of this name has UID {:?}, and the runtime's has {uid:?}: it is another pod; the call \
             can be tried again in case the cluster is behind",
            pod.uid
        ),
        None => "the pod is not known on this node, and the runtime did not pass its annotations; the call can be \
                 tried again once the pod is there"
            .to_owned(),
    };
    Err(CniError::new(Code::TryAgain, msg))
}
