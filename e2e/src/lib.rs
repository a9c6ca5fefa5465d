//! The test harness: nodes, runtimes, plugins and clusters for tests of Plexus.
//!
//! - [`Node`] has a mount and a network namespace of its own and takes a millisecond to make. Tests
//!   run in parallel, as root or under `unshare -Urm`, and do not touch the machine.
//! - [`Sandbox`] is the network namespace of a pod on a node, [`CniTarget`] a CNI call for it.
//! - [`Plexus`] is the fixture of most tests: a [`Daemon`], [`Manifests`] and a [`Runtime`].
//!   [`PlexusInCluster`] has a [`Cluster`] instead of manifests.
//! - [`Runtime`] executes the shim as containerd or CRI-O does. [`Containerd`] is a real one;
//!   [`cri`] requests pods from it as kubelet does.
//! - [`kubelet`] has a kubelet that reports the devices of pods.
//! - [`Script`] defines the behaviour of a scripted plugin; [`Node::calls`] returns its calls.
//! - [`real_networks`] has networks of the reference plugins, [`sequences`] kills the daemon while
//!   pods start and stop on them.
//!
//! The harness looks for binaries of other crates next to the test: run
//! `cargo build --workspace --bins` first.

pub mod binaries;
pub mod cgroup;
pub mod cluster;
mod cni_output;
pub mod containerd;
pub mod cri;
pub mod daemon;
mod daemon_api;
mod gate;
mod http;
pub mod ip;
pub mod json;
pub mod leftovers;
mod manifests;
mod mounts;
mod node;
mod node_watch;
pub mod plexus;
pub mod plexus_in_cluster;
mod plugin_log;
mod plugins;
pub mod real_networks;
mod runtime;
mod sandbox;
mod script;
pub mod sequences;
pub mod skip;
mod target;
pub mod workspace;
pub mod yaml;

pub use cluster::Cluster;
pub use cni_output::CniOutput;
pub use containerd::Containerd;
pub use daemon::Daemon;
pub use daemon_api::metric;
pub use gate::{Gate, Held};
pub use http::Reply;
pub use manifests::{Manifests, Pod};
pub use node::{Node, NodeError};
pub use node_watch::NodeWatch;
pub use plexus::{Plexus, PlexusBuilder};
pub use plexus_in_cluster::PlexusInCluster;
pub use plexus_kubelet as kubelet;
pub use plugin_log::{LogEntry, PluginCall};
pub use runtime::{Flavour, RunningCall, Runtime};
pub use sandbox::Sandbox;
pub use script::{Script, ScriptFile, Step, Stream, attaches};
pub use target::CniTarget;
