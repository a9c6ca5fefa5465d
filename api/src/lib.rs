//! The types that the shim, the daemon and the test harness share: the Container Network Interface
//! ([`cni`]), the annotations of the multi-network specification ([`selection`], [`status`]), and
//! the protocol between shim and daemon ([`wire`]).
//!
//! Pure data: no I/O, no clock, no Kubernetes crate.

#![deny(missing_docs)]

mod build_info;
pub mod cni;
mod dns;
pub mod duration;
pub mod json;
mod os_code;
mod quote;
pub mod rows;
pub mod selection;
pub mod status;
pub mod wire;

pub use build_info::version;
pub use os_code::without_os_codes;
pub use quote::{quote, shorten};
