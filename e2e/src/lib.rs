//! The test bench: everything around Plexus that a test needs, real where it can be.
//!
//! - [`Node`] is a machine of its own: a mount and a network namespace, made in a millisecond. Tests run in parallel,
//!   as root or under `unshare -Urm`, and the machine they run on is not touched.
//! - [`Sandbox`] is the network namespace of a pod on that node.
//! - [`Daemon`] is `plexusd` running there, [`Manifests`] the cluster that it serves.
//! - [`Cluster`] is that of a test that needs an API server: [`ApiServer`](plexus_apiserver::ApiServer) in memory, or a real one.
//! - [`Runtime`] plays containerd or CRI-O and executes the shim as they do.
//! - [`Plexus`] is all of them at work together: what most tests begin with.
//! - [`Containerd`] is a real one; [`cri`] asks it for pods as kubelet does.
//! - [`Script`] tells a scripted plugin how to behave; [`Node::calls`] tells what it was asked.
//!
//! Binaries of other crates are looked up beside the test: `cargo build --workspace --bins` comes first.

mod answer;
pub mod binaries;
mod changes;
pub mod cluster;
pub mod containerd;
pub mod cri;
mod daemon;
mod gate;
mod http;
pub mod ip;
pub mod left;
mod manifests;
mod mounts;
mod node;
pub mod plexus;
mod plugin_log;
mod runtime;
mod sandbox;
mod script;
pub mod sequences;
pub mod skip;
pub mod workspace;

pub use answer::Answer;
pub use changes::Changes;
pub use cluster::Cluster;
pub use containerd::Containerd;
pub use daemon::Daemon;
pub use gate::{Gate, Held};
pub use http::Reply;
pub use manifests::{Manifests, Pod};
pub use node::{Node, NodeError};
pub use plexus::Plexus;
pub use plugin_log::{Call, Entry};
pub use runtime::{Flavour, Running, Runtime, Target};
pub use sandbox::Sandbox;
pub use script::{Script, ScriptFile, Step, Stream};
