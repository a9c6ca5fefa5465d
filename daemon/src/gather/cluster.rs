//! The cluster as the node sees it: one in-memory [`Store`] that the verbs read, and what feeds it.

pub mod manifests;
mod store;

pub use manifests::Manifests;
pub use store::{Changes, Definition, Store};
