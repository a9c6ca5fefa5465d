//! The pod of a call, with its annotations.

use std::collections::BTreeMap;
use std::fmt;

use plexus_api::selection::POD_ANNOTATIONS;
use plexus_api::shorten;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::GatherError;
use super::request::{LookupDeadlines, PodRequest};
use crate::cluster::Store;
use crate::cluster::kube::ApiReader;
use crate::model::{KEPT_ANNOTATIONS, Pod, PodRef};

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
        let annotations: Option<KeptAnnotations> = serde_json::from_str(raw.get())
            .map_err(|error| GatherError::PodAnnotations(shorten(&error.to_string())))?;
        return Ok(Pod {
            name: name.clone(),
            namespace: namespace.clone(),
            uid: uid.clone(),
            annotations: annotations.unwrap_or_default().0,
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

/// The [`KEPT_ANNOTATIONS`] in a map of annotations. The values of all others are skipped: a pod can
/// have 256 KiB of them.
#[derive(Default)]
struct KeptAnnotations(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for KeptAnnotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnnotationsVisitor;

        impl<'de> Visitor<'de> for AnnotationsVisitor {
            type Value = KeptAnnotations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KeptAnnotations, A::Error> {
                let mut kept = KeptAnnotations::default();
                while let Some(key) = map.next_key::<String>()? {
                    if KEPT_ANNOTATIONS.contains(&key.as_str()) {
                        kept.0.insert(key, map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(kept)
            }
        }

        deserializer.deserialize_map(AnnotationsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_annotations_that_the_daemon_uses_are_kept() {
        let text = r#"{"k8s.v1.cni.cncf.io/networks":"a","note":"secret","kubernetes.io/config.source":"api"}"#;
        let annotations: KeptAnnotations = serde_json::from_str(text).expect("a map");
        let keys: Vec<_> = annotations.0.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["k8s.v1.cni.cncf.io/networks", "kubernetes.io/config.source"]
        );
        for invalid in ["[]", r#"{"k8s.v1.cni.cncf.io/networks":7}"#] {
            assert!(
                serde_json::from_str::<KeptAnnotations>(invalid).is_err(),
                "{invalid}"
            );
        }
    }
}
