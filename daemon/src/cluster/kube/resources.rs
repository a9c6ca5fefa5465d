//! Pods and definitions: their form at the API server, and the part that the store keeps.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cluster::definition::{Definition, ParsedConfig, RESOURCE_NAME};
use crate::cluster::store::StoredObject;
use crate::model::{KEPT_ANNOTATIONS, Pod};

/// An object of the API server.
pub(super) trait ApiObject:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

impl<T> ApiObject for T where
    T: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
}

/// A kind of the store that a reflector keeps up to date.
pub(super) trait WatchedKind: StoredObject + Send {
    /// The form of the kind at the API server.
    type Api: ApiObject;
    /// The plural name of the kind, for messages.
    const PLURAL: &str;
    /// Whether lists come from the server's cache, without pages. The cache is indexed by node;
    /// without the cache, a list by node walks over the pods of all nodes.
    const LIST_FROM_CACHE: bool;
    /// The message for a server that does not have the kind. `None` if every server has the kind.
    const MISSING: Option<&str>;

    /// The part that the store keeps.
    ///
    /// # Errors
    /// Why the object is invalid.
    fn from_api(object: Self::Api) -> Result<Self, String>;
}

impl WatchedKind for Pod {
    type Api = PartialObjectMeta<v1::Pod>;
    const PLURAL: &str = "pods";
    const LIST_FROM_CACHE: bool = true;
    const MISSING: Option<&str> = None;

    fn from_api(object: Self::Api) -> Result<Self, String> {
        let ObjectMeta {
            name,
            namespace,
            uid,
            annotations,
            ..
        } = object.metadata;
        let mut annotations = annotations.unwrap_or_default();
        annotations.retain(|key, _| KEPT_ANNOTATIONS.contains(&key.as_str()));
        Ok(Self {
            name: name.unwrap_or_default(),
            namespace: namespace.unwrap_or_default(),
            uid: uid.unwrap_or_default(),
            annotations,
        })
    }
}

impl WatchedKind for Definition {
    type Api = DeserializeGuard<NetworkAttachmentDefinition>;
    const PLURAL: &str = "network-attachment-definitions";
    const LIST_FROM_CACHE: bool = false;
    const MISSING: Option<&str> = Some(
        "the API server has no network-attachment-definitions: their CRD is not installed (`plexusd crd` prints it, \
         for `kubectl apply --filename -`); until it is, pods can have the default network and those on the node's disk",
    );

    fn from_api(object: Self::Api) -> Result<Self, String> {
        let NetworkAttachmentDefinition { metadata, spec } =
            object.0.map_err(|invalid| invalid.error)?;
        Ok(Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            config: spec.and_then(|spec| spec.config),
            resource_name: metadata
                .annotations
                .and_then(|mut annotations| annotations.remove(RESOURCE_NAME)),
            created: metadata.creation_timestamp.map(|time| time.0.as_second()),
            parsed: ParsedConfig::default(),
        })
    }
}

/// A network-attachment-definition of the multi-network specification (K-001).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct NetworkAttachmentDefinition {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Option<Spec>,
}

#[derive(Debug, Clone, Deserialize)]
struct Spec {
    config: Option<String>,
}

impl Resource for NetworkAttachmentDefinition {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "NetworkAttachmentDefinition".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "k8s.cni.cncf.io".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "network-attachment-definitions".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests;
