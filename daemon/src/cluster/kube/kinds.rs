//! The two kinds that are watched: as the API server has them, and what is kept of them.

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use plexus_api::selection::{DEFAULT_NETWORK, NETWORKS};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::RESOURCE_NAME;
use super::super::store::{Definition, Object};
use crate::model::{CONFIG_SOURCE, Pod};

/// The annotations of a pod that are kept: what it asks for, and what tells a static pod and its mirror.
const KEPT: [&str; 4] = [
    NETWORKS,
    DEFAULT_NETWORK,
    CONFIG_SOURCE,
    "kubernetes.io/config.mirror",
];

/// A namespaced kind as the API server has it.
pub(super) trait Wire:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
}

impl<T> Wire for T where
    T: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static
{
}

/// What the store keeps of a kind of the API server.
pub(super) trait Kind: Object + Send {
    /// The kind as the API server has it.
    type Wire: Wire;
    /// Its name in messages.
    const NAME: &str;
    /// Whether a list may come from the server's cache, unpaged. Its answer to a selector by node is quick there, and
    /// elsewhere a walk over the pods of all nodes.
    const FROM_CACHE: bool;
    /// What it means that the server does not have the kind, where that can be.
    const MISSING: Option<&str>;

    /// What is kept.
    ///
    /// # Errors
    /// The object is not what its kind says; the text tells why.
    fn trim(wire: Self::Wire) -> Result<Self, String>;
}

impl Kind for Pod {
    type Wire = PartialObjectMeta<v1::Pod>;
    const NAME: &str = "pods";
    const FROM_CACHE: bool = true;
    const MISSING: Option<&str> = None;

    fn trim(wire: Self::Wire) -> Result<Self, String> {
        let ObjectMeta {
            name,
            namespace,
            uid,
            annotations,
            ..
        } = wire.metadata;
        let mut annotations = annotations.unwrap_or_default();
        annotations.retain(|key, _| KEPT.contains(&key.as_str()));
        Ok(Self {
            name: name.unwrap_or_default(),
            namespace: namespace.unwrap_or_default(),
            uid: uid.unwrap_or_default(),
            annotations,
        })
    }
}

impl Kind for Definition {
    type Wire = DeserializeGuard<NetworkAttachmentDefinition>;
    const NAME: &str = "network-attachment-definitions";
    const FROM_CACHE: bool = false;
    const MISSING: Option<&str> = Some(
        "the API server has no network-attachment-definitions: their CRD is not installed (`plexusd crd` prints it, \
         for `kubectl apply --filename -`); until it is, pods can have the default network and those on the node's disk",
    );

    fn trim(wire: Self::Wire) -> Result<Self, String> {
        let NetworkAttachmentDefinition { metadata, spec } =
            wire.0.map_err(|invalid| invalid.error)?;
        Ok(Self {
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            config: spec.and_then(|spec| spec.config),
            resource_name: metadata
                .annotations
                .and_then(|mut annotations| annotations.remove(RESOURCE_NAME)),
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
