//! The nouns of Plexus, shared by the shim, the daemon and the test bench: the Container Network Interface
//! ([`cni`]), the annotations of the multi-network specification, and the wire between shim and daemon ([`wire`]).
//!
//! Pure data: no I/O, no clock, no Kubernetes crate.

pub mod cni;
mod dns;
pub mod duration;
pub mod json;
pub mod rows;
pub mod selection;
pub mod status;
pub mod wire;
