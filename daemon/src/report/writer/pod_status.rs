//! The request that writes a pod's network-status, and the UID that it is for.

use std::time::Duration;

use hyper::http::Request;
use kube::api::{Patch, PatchParams};
use plexus_api::status::NETWORK_STATUS;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::Store;
use crate::cluster::kube::ApiError;
use crate::model::{Pod, PodRef};

/// The annotation by which a mirror names the UID of its static pod.
const MIRROR_OF: &str = "kubernetes.io/config.mirror";
/// Longer than any pod lives, and short enough to be added to now.
const FOREVER: Duration = Duration::from_hours(100_000);

/// The UID that the API server knows the pod by. For a static pod that is its mirror's: waited for where it is not
/// there yet (`missing` is called then), or where it is the one that was `refused`.
pub(super) async fn target(
    store: &Store,
    pod: &PodRef,
    refused: Option<&str>,
    missing: impl FnOnce(),
) -> String {
    if !pod.is_static {
        return pod.uid.clone();
    }
    let is_mirror = |known: &Pod| refused != Some(&known.uid) && mirrors(known, &pod.uid);
    let known = store
        .pod(&pod.namespace, &pod.name)
        .filter(|known| is_mirror(known));
    if let Some(known) = known {
        return known.uid.clone();
    }
    missing();
    loop {
        let found = store
            .wait_pod(
                &pod.namespace,
                &pod.name,
                Instant::now() + FOREVER,
                is_mirror,
            )
            .await;
        if let Some(mirror) = found {
            return mirror.uid.clone();
        }
    }
}

/// Whether `known` is the mirror of the static pod `uid`. Kubelet makes that UID from the pod's manifest, and calls it
/// its hash.
fn mirrors(known: &Pod, uid: &str) -> bool {
    known.is_static()
        && (uid.is_empty() || known.annotations.get(MIRROR_OF).is_some_and(|of| of == uid))
}

/// A merge patch of annotations alone. With the UID in it, another pod of that name is refused.
pub(super) fn patch(pod: &PodRef, uid: &str, text: &str) -> Result<Request<Vec<u8>>, ApiError> {
    let params = PatchParams {
        field_manager: Some("plexusd".to_owned()),
        ..PatchParams::default()
    };
    let pods = kube::core::Request::new(format!("/api/v1/namespaces/{}/pods", pod.namespace));
    Ok(pods.patch_subresource("status", &pod.name, &params, &Patch::Merge(body(uid, text)))?)
}

fn body(uid: &str, text: &str) -> Value {
    let mut metadata = json!({"annotations": {NETWORK_STATUS: text}});
    if !uid.is_empty() {
        metadata["uid"] = json!(uid);
    }
    json!({"metadata": metadata})
}
