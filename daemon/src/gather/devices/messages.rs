//! The messages of kubelet's pod-resources API v1, with only the fields that Plexus reads.

use prost::Message;
use prost::bytes::Bytes;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetRequest {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) pod: Option<PodResources>,
}

/// All pods of the node, each still encoded: only one of them is decoded.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ListResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) pods: Vec<Bytes>,
}

/// The name in [`PodResources`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct PodName {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodResources {
    #[prost(message, repeated, tag = "3")]
    pub(super) containers: Vec<ContainerResources>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerResources {
    #[prost(message, repeated, tag = "2")]
    pub(super) devices: Vec<ContainerDevices>,
    #[prost(message, repeated, tag = "5")]
    pub(super) claims: Vec<DynamicResource>,
}

/// Devices of one resource on one NUMA node.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerDevices {
    #[prost(string, tag = "1")]
    pub(super) resource: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) ids: Vec<String>,
}

/// The devices of a claim.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DynamicResource {
    #[prost(string, tag = "2")]
    pub(super) claim: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
    #[prost(message, repeated, tag = "4")]
    pub(super) devices: Vec<ClaimResource>,
}

/// A device of a claim. Field 1 has the names of CDI devices, which do not identify the device:
/// kubelet accumulates the names of all devices of a driver (D-064).
#[derive(Clone, PartialEq, Message)]
pub(super) struct ClaimResource {
    #[prost(string, tag = "2")]
    pub(super) driver: String,
    #[prost(string, tag = "3")]
    pub(super) pool: String,
    #[prost(string, tag = "4")]
    pub(super) device: String,
    #[prost(string, optional, tag = "5")]
    pub(super) share: Option<String>,
}

/// The devices of the node, whether they are allocated or not.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AllocatableResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) devices: Vec<ResourceName>,
}

/// The resource in [`ContainerDevices`].
#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceName {
    #[prost(string, tag = "1")]
    pub(super) resource: String,
}
