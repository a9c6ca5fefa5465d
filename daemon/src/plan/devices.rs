//! Hands the devices of a pod to its networks.

use std::collections::BTreeMap;

use plexus_api::cni::{CniError, Code, NetworkConfig};

use super::input::{PlanInput, PlannedNetwork};
use super::warning::{Warning, WarningKind};
use crate::model::Allocation;

/// The keys in which plugins expect a device (D-031).
pub(super) const DEVICE_KEYS: [&str; 2] = ["deviceID", "pciBusID"];

/// Hands out devices in the order of the networks, with one position per resource for the whole pod
/// (D-033, D-034).
#[derive(Debug)]
pub(super) struct DeviceCursor<'a> {
    input: &'a PlanInput,
    /// The number of devices that were handed out, by resource.
    used: BTreeMap<&'a str, usize>,
}

impl<'a> DeviceCursor<'a> {
    pub(super) fn new(input: &'a PlanInput) -> Self {
        Self {
            input,
            used: BTreeMap::new(),
        }
    }

    /// The device of the next network. Returns `None` if the network has no resource and the pod
    /// names no device.
    ///
    /// # Errors
    /// The network has a resource, and the pod has no device for it (D-035).
    pub(super) fn next(
        &mut self,
        planned: &PlannedNetwork<'a>,
        warnings: &mut Vec<Warning>,
    ) -> Result<Option<String>, CniError> {
        let explicit = planned
            .selection
            .and_then(|selection| selection.device_id.as_deref());
        let Some(resource) = planned.network.resource_name.as_deref() else {
            return Ok(explicit.map(str::to_owned));
        };
        let allocation = self.input.devices.get(resource);
        let devices = match allocation {
            Some(Allocation::Devices(devices)) => Some(devices),
            _ => None,
        };
        let used = self.used.entry(resource).or_default();
        if let Some(device) = devices.and_then(|devices| devices.iter().nth(*used)) {
            *used += 1;
            warn_of_ignored(planned, explicit, device, warnings);
            return Ok(Some(device.clone()));
        }
        if explicit.is_some() || has_device(&planned.network.config) {
            return Ok(explicit.map(str::to_owned));
        }
        let found = devices.map_or(0, |devices| devices.len());
        match allocation {
            // Without an entry, the devices were not asked for: a DEL finds the device by the pod.
            None | Some(Allocation::NotADevice) => Ok(None),
            Some(Allocation::Devices(_) | Allocation::NoDevice) => {
                Err(self.too_few(planned, resource, found))
            }
            Some(Allocation::Unknown(cause)) => {
                let msg = format!(
                    "network {:?}: the devices of the resource {resource:?} are not known: {cause}",
                    planned.network.name
                );
                Err(CniError::new(Code::DeviceMissing, msg))
            }
        }
    }

    fn too_few(&self, planned: &PlannedNetwork<'_>, resource: &str, found: usize) -> CniError {
        let has_resource =
            |other: &PlannedNetwork<'_>| other.network.resource_name.as_deref() == Some(resource);
        let needed = self.input.networks().filter(has_resource).count();
        let msg = format!(
            "network {:?}: the pod's networks need {needed} devices of the resource {resource:?}, but its containers have \
             {found}; request {needed} in the resources of a container",
            planned.network.name
        );
        CniError::new(Code::DeviceMissing, msg)
    }
}

/// Warns if the pod names another device than the one that is allocated to it (D-036).
fn warn_of_ignored(
    planned: &PlannedNetwork<'_>,
    explicit: Option<&str>,
    device: &str,
    warnings: &mut Vec<Warning>,
) {
    if let Some(explicit) = explicit.filter(|explicit| *explicit != device) {
        let text = format!(
            "network {:?}: the \"deviceID\" {explicit:?} is ignored; the network has the allocated device {device:?}",
            planned.network.name
        );
        warnings.push(Warning {
            kind: WarningKind::DeviceIdIgnored,
            text,
        });
    }
}

/// Whether the configuration itself names a device.
fn has_device(config: &NetworkConfig) -> bool {
    let keys = || DEVICE_KEYS.iter();
    config
        .plugins
        .iter()
        .any(|plugin| keys().any(|key| plugin.raw(key).is_some()))
}
