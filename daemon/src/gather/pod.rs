//! The pod of a call, with its annotations.

use std::collections::BTreeMap;

use plexus_api::selection::POD_ANNOTATIONS;

use super::error::GatherError;
use super::request::{LookupDeadlines, PodRequest};
use crate::cluster::Store;
use crate::cluster::kube::ApiReader;
use crate::model::{Pod, PodRef};

/// Finds the pod of a call. If the runtime passed the annotations, those are used (decision 5:
/// `null` means that the pod has none). Otherwise waits until the store has the pod, and finally
/// reads the pod from the API server once.
pub(super) async fn find(
    store: &Store,
    api: Option<&ApiReader>,
    request: &PodRequest,
    deadlines: LookupDeadlines,
) -> Result<Pod, GatherError> {
    let PodRef {
        namespace,
        name,
        uid,
        ..
    } = &request.pod;
    if let Some(raw) = request.runtime_config.get(POD_ANNOTATIONS) {
        let annotations: Option<BTreeMap<String, String>> = serde_json::from_str(raw.get())
            .map_err(|error| GatherError::PodAnnotations(error.to_string()))?;
        return Ok(Pod {
            name: name.clone(),
            namespace: namespace.clone(),
            uid: uid.clone(),
            annotations: annotations.unwrap_or_default(),
        });
    }
    let known = store.wait_pod(namespace, name, deadlines.watch, |pod| pod.matches_uid(uid));
    if let Some(pod) = known.await {
        return Ok(pod.as_ref().clone());
    }
    let pod = match api {
        None => store.pod(namespace, name).map(|pod| pod.as_ref().clone()),
        Some(api) => api
            .pod(namespace, name, deadlines.read)
            .await
            .map_err(|error| GatherError::api(format!("pod {namespace}/{name}"), error))?,
    };
    match pod {
        Some(pod) if pod.matches_uid(uid) => Ok(pod),
        Some(pod) => Err(GatherError::OtherPod {
            known: pod.uid,
            requested: uid.clone(),
        }),
        None => Err(GatherError::UnknownPod),
    }
}
