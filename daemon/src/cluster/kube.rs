//! A Kubernetes API server as the source of pods and definitions: two watches that feed the store,
//! and single reads for objects that the watches have not delivered.
//!
//! An idle daemon makes no requests except its two watches. They cover the pods of this node,
//! without spec and status, and all definitions. The store keeps only the fields that are used.
//! Neither memory nor requests grow with the number of pods in the cluster.

mod client;
mod connection;
mod error;
mod reader;
mod reflector;
mod resources;
mod writer;

use std::convert::Infallible;
use std::sync::Arc;

use super::definition::Definition;
use super::store::Store;
use crate::model::Pod;
pub(crate) use connection::Connection;
pub(crate) use error::ApiError;
pub(crate) use reader::{ApiReader, PodSummary, is_object_name};
use reflector::Reflector;
pub(crate) use writer::ApiWriter;

/// Keeps the pods of `node` and all definitions in `store` up to date. Never returns.
pub(crate) async fn run_reflectors(
    connection: Arc<Connection>,
    node: &str,
    store: Store,
) -> Infallible {
    let this_node = format!("spec.nodeName={node}");
    let pods = Reflector::<Pod>::new(connection.clone(), Some(this_node), store.clone());
    let definitions = Reflector::<Definition>::new(connection, None, store);
    tokio::join!(pods.run(), definitions.run()).0
}
