//! A Kubernetes API server as the source of pods and definitions: two watches that feed the store, and one look at the
//! server itself for what a call needs and the watches have not brought.
//!
//! A daemon without work makes no request but its two watches. The pods are those of this node, without spec and
//! status, and only what is used of an object is kept; so neither memory nor requests grow with the cluster.

mod client;
mod connection;
mod follow;
mod kinds;
mod live;
mod trouble;
mod writes;

use std::convert::Infallible;
use std::sync::Arc;

use super::store::{Definition, Store};
use crate::model::Pod;
pub(crate) use connection::Connection;
use follow::Follower;
pub(crate) use live::{Live, Running, is_name};
pub(crate) use trouble::Trouble;
pub(crate) use writes::Writes;

/// Feeds `store` with the pods of `node` and all definitions, for as long as it is polled.
pub(crate) async fn feed(connection: Arc<Connection>, node: &str, store: Store) -> Infallible {
    let this_node = format!("spec.nodeName={node}");
    let pods = Follower::<Pod>::new(connection.clone(), Some(this_node), store.clone());
    let definitions = Follower::<Definition>::new(connection, None, store);
    tokio::join!(pods.run(), definitions.run()).0
}
