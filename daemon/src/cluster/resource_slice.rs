//! `ResourceSlices` of DRA drivers, reduced to what the daemon uses.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A part of a pool of devices. The API server guarantees that driver and pool never change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ResourceSlice {
    pub(crate) name: String,
    pub(crate) driver: String,
    pub(crate) pool: String,
    /// The generation of the pool. Only slices of the highest generation count (D-065).
    pub(crate) generation: i64,
    /// All devices by name. `None` for a device that is not for networks (D-061).
    pub(crate) devices: BTreeMap<String, Option<NetworkDevice>>,
}

/// The attributes of a device that networks need (D-060).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkDevice {
    /// `k8s.cni.cncf.io/resourceName`: the resource that definitions name.
    pub(crate) resource: String,
    /// `k8s.cni.cncf.io/deviceID`.
    pub(crate) id: String,
}

/// A slice with devices of this node only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeSlice(pub(crate) Arc<ResourceSlice>);

/// A slice that names no node: its devices, or some of them, are for several nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SharedSlice(pub(crate) Arc<ResourceSlice>);
