//! The cluster as the node sees it: one in-memory [`Store`] that the verbs read, and what feeds it: a directory of
//! [`Manifests`], or an API server by [`kube`].

pub mod kube;
pub mod manifests;
mod snapshot;
mod store;

pub use manifests::Manifests;
pub use snapshot::Snapshots;
pub use store::{Changes, Definition, Store};

/// The annotation of a definition that names a device plugin's resource.
const RESOURCE_NAME: &str = "k8s.v1.cni.cncf.io/resourceName";
