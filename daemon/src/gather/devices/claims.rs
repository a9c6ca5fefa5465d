//! Finds the devices of claims in `ResourceSlices`. Pure: no I/O, no clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use plexus_api::quote;

use crate::cluster::{NetworkDevice, ResourceSlice};
use crate::model::PodDevice;

/// A device of a claim. Driver, pool and name identify a device, unlike its CDI names, which
/// kubelet accumulates over the devices of a driver (D-064).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClaimDevice {
    /// The namespace of the claim.
    pub(super) namespace: String,
    /// The name of the claim.
    pub(super) claim: String,
    pub(super) driver: String,
    pub(super) pool: String,
    pub(super) device: String,
    /// The share of the device, if the device can be allocated several times. Each share counts as
    /// a device.
    pub(super) share: Option<String>,
}

/// A device that the scheduler has allocated for an extended resource of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ExtendedDevice {
    pub(super) resource: String,
    pub(super) device: ClaimDevice,
}

/// What the `ResourceSlices` say about the devices of a pod's claims.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The devices that were found, by resource.
    pub(super) devices: BTreeMap<String, BTreeSet<PodDevice>>,
    /// A device that no slice has.
    pub(super) missing: Option<ClaimDevice>,
    /// Why a device of an extended resource cannot be used, by resource (D-066).
    pub(super) unusable: BTreeMap<String, String>,
}

/// The slices of each driver and pool in the highest generation (D-065). Which nodes a slice is for
/// does not matter: the scheduler has chosen the device for the pod's node.
struct Pools<'a>(HashMap<(&'a str, &'a str), Vec<&'a ResourceSlice>>);

/// Finds `devices` and `extended` in `slices`.
pub(super) fn resolve(
    devices: &BTreeSet<ClaimDevice>,
    extended: &BTreeSet<ExtendedDevice>,
    slices: &[Arc<ResourceSlice>],
) -> Resolved {
    let pools = Pools::new(slices);
    let mut resolved = Resolved::default();
    for device in devices {
        match pools.find(device) {
            Err(missing) => resolved.missing = Some(missing.clone()),
            // For example a GPU (D-061).
            Ok(None) => {}
            Ok(Some(found)) => resolved.add(found, device),
        }
    }
    for ExtendedDevice { resource, device } in extended {
        match pools.find(device) {
            Err(missing) => resolved.missing = Some(missing.clone()),
            Ok(Some(found)) if found.resource == *resource => resolved.add(found, device),
            Ok(found) => {
                let problem = match found {
                    Some(found) => format!(
                        "has the attribute k8s.cni.cncf.io/resourceName {}",
                        quote(&found.resource)
                    ),
                    None => "lacks an attribute k8s.cni.cncf.io/resourceName or k8s.cni.cncf.io/deviceID"
                        .to_owned(),
                };
                resolved.unusable.insert(
                    resource.clone(),
                    format!("{device}, which was allocated for the resource, {problem}"),
                );
            }
        }
    }
    resolved
}

/// Whether a device of `slices` is of `resource`.
pub(super) fn is_offered(slices: &[Arc<ResourceSlice>], resource: &str) -> bool {
    let devices = slices.iter().flat_map(|slice| slice.devices.values());
    devices.flatten().any(|device| device.resource == resource)
}

impl Resolved {
    fn add(&mut self, found: &NetworkDevice, device: &ClaimDevice) {
        let devices = self.devices.entry(found.resource.clone()).or_default();
        devices.insert(PodDevice {
            id: found.id.clone(),
            share: device.share.clone(),
        });
    }
}

impl<'a> Pools<'a> {
    fn new(slices: &'a [Arc<ResourceSlice>]) -> Self {
        let mut pools: HashMap<_, Vec<&ResourceSlice>> = HashMap::new();
        for slice in slices {
            let pool = pools.entry((slice.driver.as_str(), slice.pool.as_str()));
            let pool = pool.or_default();
            let generation = pool.first().map_or(i64::MIN, |first| first.generation);
            if slice.generation > generation {
                pool.clear();
            }
            if slice.generation >= generation {
                pool.push(slice);
            }
        }
        Self(pools)
    }

    /// Returns `None` if the device is not for networks.
    ///
    /// # Errors
    /// The device, if no slice has it.
    fn find<'d>(
        &self,
        device: &'d ClaimDevice,
    ) -> Result<Option<&'a NetworkDevice>, &'d ClaimDevice> {
        let slices = self.0.get(&(device.driver.as_str(), device.pool.as_str()));
        slices
            .into_iter()
            .flatten()
            .find_map(|slice| slice.devices.get(&device.device))
            .map(Option::as_ref)
            .ok_or(device)
    }
}

impl fmt::Display for ClaimDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            claim,
            driver,
            pool,
            device,
            share: _,
        } = self;
        write!(
            f,
            "device {driver}/{pool}/{device} of the claim {namespace}/{claim}"
        )
    }
}

#[cfg(test)]
mod tests;
