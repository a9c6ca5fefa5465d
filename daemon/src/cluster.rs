//! The cluster as the node sees it: one in-memory [`Store`] that the verbs read, and what feeds it: a directory of
//! [`Manifests`], or an API server by [`kube`].

pub(crate) mod kube;
pub(crate) mod manifests;
mod snapshot;
mod store;

pub(crate) use manifests::Manifests;
pub(crate) use snapshot::DefinitionSnapshot;
pub(crate) use store::{Changes, Definition, Store};

/// The annotation of a definition that names a device plugin's resource.
const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";
