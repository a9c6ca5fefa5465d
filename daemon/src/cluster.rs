//! The cluster as this node sees it: an in-memory [`Store`] of pods and definitions, and the two
//! sources that can feed it: an API server ([`kube`]) or a directory of [`Manifests`].

mod definition;
pub(crate) mod kube;
pub(crate) mod manifests;
mod resource_slice;
mod snapshot;
mod store;

pub(crate) use definition::{Definition, MAX_RESOURCE_NAME, RESOURCE_NAME};
pub(crate) use manifests::Manifests;
pub(crate) use resource_slice::{NetworkDevice, ResourceSlice};
pub(crate) use snapshot::DefinitionSnapshot;
pub(crate) use store::{Store, StoreChanges};
