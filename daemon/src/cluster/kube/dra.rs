//! The objects of dynamic resource allocation (DRA) at the API server: `ResourceSlices`,
//! `ResourceClaims`, and the claims of a pod.
//!
//! The types of `k8s-openapi` are not used: a slice has up to 128 devices with 32 attributes each,
//! of which two are used.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::Resource;
use serde::Deserialize;

use super::resources::WatchedKind;
use crate::cluster::resource_slice::{NetworkDevice, NodeSlice, ResourceSlice, SharedSlice};

/// The domain of the attributes. An attribute without a domain has that of its driver.
const DOMAIN: &str = "k8s.cni.cncf.io";
const NO_API: &str = "the API server has no resourceslices of resource.k8s.io/v1, which Kubernetes has since 1.34: \
     no device of a claim is known; set dra to \"off\" if that is intended";

macro_rules! resource {
    ($object:ty, $kind:literal, $plural:literal, $scope:ty) => {
        impl Resource for $object {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                "resource.k8s.io".into()
            }

            fn version((): &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(
    SliceObject,
    "ResourceSlice",
    "resourceslices",
    ClusterResourceScope
);
resource!(
    ClaimObject,
    "ResourceClaim",
    "resourceclaims",
    NamespaceResourceScope
);

/// A `ResourceSlice`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SliceObject {
    metadata: ObjectMeta,
    spec: SliceSpec,
}

#[derive(Debug, Clone, Deserialize)]
struct SliceSpec {
    driver: String,
    pool: Pool,
    #[serde(default)]
    devices: Option<Vec<DeviceObject>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Pool {
    name: String,
    generation: i64,
}

#[derive(Debug, Clone, Deserialize)]
struct DeviceObject {
    name: String,
    #[serde(default)]
    attributes: Option<Attributes>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Attributes {
    #[serde(rename = "k8s.cni.cncf.io/resourceName")]
    resource: Option<Attribute>,
    #[serde(rename = "k8s.cni.cncf.io/deviceID")]
    id: Option<Attribute>,
    #[serde(rename = "resourceName")]
    resource_without_domain: Option<Attribute>,
    #[serde(rename = "deviceID")]
    id_without_domain: Option<Attribute>,
}

#[derive(Debug, Clone, Deserialize)]
struct Attribute {
    /// `None` if the value has another type.
    string: Option<String>,
}

impl SliceObject {
    fn into_slice(self) -> Arc<ResourceSlice> {
        let SliceSpec {
            driver,
            pool,
            devices,
        } = self.spec;
        let is_domain = driver == DOMAIN;
        let devices = devices.unwrap_or_default().into_iter();
        let devices = devices.map(|device| {
            let attributes = device.attributes.unwrap_or_default();
            (device.name, attributes.into_network_device(is_domain))
        });
        Arc::new(ResourceSlice {
            name: self.metadata.name.unwrap_or_default(),
            pool: pool.name,
            generation: pool.generation,
            devices: devices.collect(),
            driver,
        })
    }
}

impl Attributes {
    /// `is_domain` says whether attributes without a domain are in [`DOMAIN`].
    fn into_network_device(self, is_domain: bool) -> Option<NetworkDevice> {
        let value = |qualified: Option<Attribute>, bare: Option<Attribute>| {
            let attribute = qualified.or(bare.filter(|_| is_domain))?;
            attribute.string.filter(|value| !value.is_empty())
        };
        Some(NetworkDevice {
            resource: value(self.resource, self.resource_without_domain)?,
            id: value(self.id, self.id_without_domain)?,
        })
    }
}

impl WatchedKind for NodeSlice {
    type Api = SliceObject;
    const PLURAL: &str = "resourceslices of the node";
    const LIST_FROM_CACHE: bool = true;
    const MISSING: Option<&str> = Some(NO_API);

    fn from_api(object: SliceObject) -> Result<Self, String> {
        Ok(Self(object.into_slice()))
    }
}

impl WatchedKind for SharedSlice {
    type Api = SliceObject;
    const PLURAL: &str = "resourceslices of several nodes";
    const LIST_FROM_CACHE: bool = true;
    const MISSING: Option<&str> = Some(NO_API);

    fn from_api(object: SliceObject) -> Result<Self, String> {
        Ok(Self(object.into_slice()))
    }
}

/// A `ResourceClaim`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ClaimObject {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Option<ClaimStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct ClaimStatus {
    #[serde(default)]
    allocation: Option<Allocation>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Allocation {
    #[serde(default)]
    devices: Option<AllocatedDevices>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct AllocatedDevices {
    #[serde(default)]
    results: Option<Vec<AllocatedDevice>>,
}

/// A device that is allocated to a claim, or a share of one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct AllocatedDevice {
    /// `request`, or `request/subrequest`.
    pub(crate) request: String,
    pub(crate) driver: String,
    pub(crate) pool: String,
    pub(crate) device: String,
    /// The share of the device, if the device can be allocated several times.
    #[serde(default, rename = "shareID")]
    pub(crate) share: Option<String>,
    /// Whether the claim only monitors or manages the device, which may be another pod's.
    #[serde(default, rename = "adminAccess")]
    admin_access: Option<bool>,
}

/// What is used of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The allocated devices, without those for administrative access. `None` if the claim has no allocation.
    pub(crate) devices: Option<Vec<AllocatedDevice>>,
}

impl ClaimObject {
    pub(super) fn into_claim(self) -> Claim {
        let allocation = self.status.and_then(|status| status.allocation);
        let devices = allocation.map(|allocation| {
            let results = allocation.devices.and_then(|devices| devices.results);
            let mut devices = results.unwrap_or_default();
            devices.retain(|device| device.admin_access != Some(true));
            devices
        });
        Claim { devices }
    }
}

/// The claims of a pod, which are in the pod's namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodClaims {
    pub(crate) uid: String,
    /// The claims that the pod names, and those that were made from its templates (D-062).
    pub(crate) names: BTreeSet<String>,
    /// The claim for the pod's extended resources (D-066).
    pub(crate) extended: Option<ExtendedClaim>,
}

/// The claim that the scheduler made for extended resources of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExtendedClaim {
    pub(crate) name: String,
    /// The resource and the request of the claim, for each container and resource.
    pub(crate) requests: BTreeSet<(String, String)>,
}

impl From<v1::Pod> for PodClaims {
    fn from(pod: v1::Pod) -> Self {
        let status = pod.status.unwrap_or_default();
        let named = pod.spec.and_then(|spec| spec.resource_claims);
        let named = named.into_iter().flatten();
        let named = named.filter_map(|claim| claim.resource_claim_name);
        let made = status.resource_claim_statuses.into_iter().flatten();
        // An entry without a name means that the template needs no claim.
        let made = made.filter_map(|claim| claim.resource_claim_name);
        let extended = status.extended_resource_claim_status.map(|status| {
            let mappings = status.request_mappings.into_iter();
            ExtendedClaim {
                name: status.resource_claim_name,
                requests: mappings
                    .map(|mapping| (mapping.resource_name, mapping.request_name))
                    .collect(),
            }
        });
        Self {
            uid: pod.metadata.uid.unwrap_or_default(),
            names: named.chain(made).collect(),
            extended,
        }
    }
}

#[cfg(test)]
mod tests;
