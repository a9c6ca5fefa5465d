//! A Kubernetes API server as the source of pods and definitions: two watches that feed the store,
//! and single reads for objects that the watches have not delivered. With DRA, two more watches
//! deliver `ResourceSlices`, and the claims of a pod are read where kubelet does not report them.
//!
//! An idle daemon makes no requests except its watches. They cover the pods of this node, without
//! spec and status, all definitions, and the `ResourceSlices` except those of other nodes. The
//! store keeps only the fields that are used. Neither memory nor requests grow with the number of
//! pods in the cluster.

mod client;
mod connection;
mod diagnosis;
mod dra;
mod error;
mod reader;
mod reflector;
mod resources;
mod writer;

use std::convert::Infallible;
use std::sync::Arc;

use super::definition::Definition;
use super::resource_slice::{NodeSlice, SharedSlice};
use super::store::Store;
use crate::model::Pod;
pub(crate) use connection::Connection;
pub(crate) use diagnosis::{ApiDiagnosis, Right};
pub(crate) use dra::{AllocatedDevice, Claim, ExtendedClaim, PodClaims};
pub(crate) use error::ApiError;
pub(crate) use reader::{ApiReader, PodSummary, is_object_name};
use reflector::Reflector;
pub(crate) use writer::ApiWriter;

/// Keeps the pods of `node` and all definitions in `store` up to date, and with `dra` also the
/// `ResourceSlices` that the node can use. Never returns.
pub(crate) async fn run_reflectors(
    connection: Arc<Connection>,
    node: &str,
    store: Store,
    dra: bool,
) -> Infallible {
    let of_node = |node: &str| Some(format!("spec.nodeName={node}"));
    let pods = Reflector::<Pod>::new(connection.clone(), of_node(node), store.clone());
    let definitions = Reflector::<Definition>::new(connection.clone(), None, store.clone());
    let slices = async {
        if dra {
            let own = Reflector::<NodeSlice>::new(connection.clone(), of_node(node), store.clone());
            // Slices that name no node, whether they select nodes by label, per device, or all.
            let shared = Reflector::<SharedSlice>::new(connection, of_node(""), store);
            tokio::join!(own.run(), shared.run());
        }
    };
    tokio::join!(pods.run(), definitions.run(), slices).0
}
