//! Devices that are allocated to a pod.

use std::collections::{BTreeMap, BTreeSet};

/// The devices of a pod, by the resource that a definition names.
pub(crate) type Devices = BTreeMap<String, Allocation>;

/// A device that is allocated to a pod, or a share of a device that can be allocated several times
/// (consumable capacity). Each share is for one network, like a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodDevice {
    pub(crate) id: String,
    /// Distinguishes the shares of a device. `None` for a whole device.
    pub(crate) share: Option<String>,
}

impl PodDevice {
    /// The whole device with this ID.
    pub(crate) fn whole(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            share: None,
        }
    }
}

/// What is known about the devices of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// What is allocated to the pod, at least one device. Networks get them in this order (D-033).
    Devices(BTreeSet<PodDevice>),
    /// The devices that are known. The other devices cannot be read: the cause and the next step, in one
    /// line.
    Incomplete(BTreeSet<PodDevice>, String),
    /// What is allocated to the running pod. Its networks use all of it already.
    InUse(BTreeSet<PodDevice>),
    /// No device is allocated to the pod, although the node has devices of the resource.
    NoDevice,
    /// The node has no devices of the resource, which only steers the scheduler: bridge-marker and
    /// ovs-cni set resources of this kind on nodes.
    NotADevice,
    /// The allocation cannot be read: the cause and the next step, in one line.
    Unknown(String),
}
