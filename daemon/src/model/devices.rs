//! Devices that are allocated to a pod.

use std::collections::{BTreeMap, BTreeSet};

/// The devices of a pod, by the resource that a definition names.
pub(crate) type Devices = BTreeMap<String, Allocation>;

/// What is known about the devices of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// The IDs that are allocated to the pod, at least one. Networks get them in this order (D-033).
    Devices(BTreeSet<String>),
    /// The IDs that are known. The other devices cannot be read: the cause and the next step, in one
    /// line.
    Incomplete(BTreeSet<String>, String),
    /// No device is allocated to the pod, although the node has devices of the resource.
    NoDevice,
    /// The node has no devices of the resource, which only steers the scheduler: bridge-marker and
    /// ovs-cni set resources of this kind on nodes.
    NotADevice,
    /// The allocation cannot be read: the cause and the next step, in one line.
    Unknown(String),
}
