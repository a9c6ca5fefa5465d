//! The request that writes a pod's network-status, and the UID that the request names.

use std::time::Duration;

use hyper::http::Request;
use kube::api::{Patch, PatchParams};
use plexus_api::status::NETWORK_STATUS;
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::Store;
use crate::cluster::kube::ApiError;
use crate::model::{Pod, PodRef};

/// The annotation in which a mirror pod has the UID of its static pod.
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";
/// Longer than any pod lives, and short enough to be added to the current time.
const FOREVER: Duration = Duration::from_hours(100_000);

/// The UID under which the API server knows the pod. For a static pod, this is the UID of its
/// mirror. If there is no mirror yet, calls `on_wait` and waits for one. Ignores a mirror with the
/// UID `rejected`.
pub(super) async fn target_uid(
    store: &Store,
    pod: &PodRef,
    rejected: Option<&str>,
    on_wait: impl FnOnce(),
) -> String {
    if !pod.is_static {
        return pod.uid.clone();
    }
    let is_mirror =
        |candidate: &Pod| rejected != Some(&candidate.uid) && is_mirror_of(candidate, &pod.uid);
    let mirror = store
        .pod(&pod.namespace, &pod.name)
        .filter(|candidate| is_mirror(candidate));
    if let Some(mirror) = mirror {
        return mirror.uid.clone();
    }
    on_wait();
    loop {
        let deadline = Instant::now() + FOREVER;
        if let Some(mirror) = store
            .wait_pod(&pod.namespace, &pod.name, deadline, is_mirror)
            .await
        {
            return mirror.uid.clone();
        }
    }
}

/// Whether `candidate` is the mirror of the static pod with the UID `uid`. Kubelet derives that UID
/// from the pod's manifest.
fn is_mirror_of(candidate: &Pod, uid: &str) -> bool {
    candidate.is_static()
        && (uid.is_empty()
            || candidate
                .annotations
                .get(MIRROR_ANNOTATION)
                .is_some_and(|value| value == uid))
}

/// A merge patch of the annotation. With the UID in the patch, the API server rejects the patch
/// for another pod of the same name.
pub(super) fn patch_request(
    pod: &PodRef,
    uid: &str,
    text: &str,
) -> Result<Request<Vec<u8>>, ApiError> {
    let mut metadata = json!({"annotations": {NETWORK_STATUS: text}});
    if !uid.is_empty() {
        metadata["uid"] = json!(uid);
    }
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let params = PatchParams {
        field_manager: Some("plexusd".to_owned()),
        ..PatchParams::default()
    };
    let pods = kube::core::Request::new(format!("/api/v1/namespaces/{}/pods", pod.namespace));
    Ok(pods.patch_subresource("status", &pod.name, &params, &patch)?)
}
