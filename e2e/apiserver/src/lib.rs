//! A Kubernetes API server in memory, and a client for API servers, for tests.
//!
//! [`ApiServer`] speaks HTTP/1.1 over TLS and responds to any client like kube-apiserver, including
//! the error messages. Of a cluster's controllers, it emulates only what tests of a node's daemon
//! need: deleting a namespace deletes the objects in it, and deleting a `CustomResourceDefinition`
//! deletes its custom resources.
//!
//! Not supported: validation against schemas, protobuf, server-side apply, lists in strategic merge
//! patches, tables for `kubectl`, and `/openapi`.

mod access;
mod audit;
mod client;
mod crd;
mod delete;
mod discovery;
mod events;
mod faults;
mod field_error;
mod handler;
mod kubeconfig;
mod list;
mod list_options;
mod lock;
mod network;
mod object;
mod patch;
mod path;
mod query;
mod representation;
mod request;
mod resources;
mod response;
mod selector;
mod serve;
mod server;
mod state;
mod status_error;
mod store;
mod strategy;
mod target;
mod tls;
mod watch;
mod watch_registry;
mod write;

pub use access::PolicyRule;
pub use audit::AuditEntry;
pub use client::{Client, ClientResponse, LineStream, StreamItem};
pub use crd::network_attachment_definition_crd;
pub use faults::{Effect, Fault, FaultId};
pub use kubeconfig::Kubeconfig;
pub use object::random_name;
pub use path::ResourcePath;
pub use server::{ApiServer, loopback_listener};
pub use status_error::{ErrorBody, StatusError};
