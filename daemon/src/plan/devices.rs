//! Hands the devices of a pod to its networks.

use std::collections::BTreeMap;

use plexus_api::cni::{CniError, Code, NetworkConfig};
use plexus_api::quote;

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
            Some(Allocation::Devices(devices) | Allocation::Incomplete(devices, _)) => {
                Some(devices)
            }
            _ => None,
        };
        let used = self.used.entry(resource).or_default();
        if let Some(device) = devices.and_then(|devices| devices.iter().nth(*used)) {
            *used += 1;
            warn_of_ignored(planned, explicit, &device.id, warnings);
            return Ok(Some(device.id.clone()));
        }
        // All allocated devices belong to other networks of the pod by now.
        let taken = match allocation {
            Some(Allocation::InUse(devices)) => Some(devices),
            _ => devices,
        };
        let is_allocated = |id: &str| taken.into_iter().flatten().any(|device| device.id == id);
        let explicit = explicit.filter(|id| !is_allocated(id));
        if explicit.is_some() || names_device(&planned.network.config) {
            return Ok(explicit.map(str::to_owned));
        }
        let reason = match allocation {
            // Without an entry, the devices were not asked for: a DEL without a record.
            None | Some(Allocation::NotADevice) => return Ok(None),
            Some(Allocation::Devices(devices)) => self.too_few(resource, devices.len()),
            Some(Allocation::InUse(devices)) => {
                let (resource, count) = (quote(resource), devices.len());
                format!(
                    "the pod's other networks use all its devices of the resource {resource} ({count})"
                )
            }
            Some(Allocation::NoDevice) => self.too_few(resource, 0),
            Some(Allocation::Unknown(cause)) => {
                let resource = quote(resource);
                format!("the devices of the resource {resource} are not known: {cause}")
            }
            Some(Allocation::Incomplete(_, cause)) => {
                let resource = quote(resource);
                format!("other devices of the resource {resource} are not known: {cause}")
            }
        };
        let msg = format!("network {:?}: {reason}", planned.network.name);
        Err(CniError::new(Code::DeviceMissing, msg))
    }

    fn too_few(&self, resource: &str, found: usize) -> String {
        let has_resource =
            |other: &PlannedNetwork<'_>| other.network.resource_name.as_deref() == Some(resource);
        let needed = self.input.networks().filter(has_resource).count();
        format!(
            "too few devices of the resource {}: the pod's networks need {needed}, its containers have {found}; \
             request {needed} in resources.limits of a container",
            quote(resource)
        )
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
            "network {:?}: the \"deviceID\" {} is ignored; the network has the allocated device {device:?}",
            planned.network.name,
            quote(explicit)
        );
        warnings.push(Warning {
            kind: WarningKind::DeviceIdIgnored,
            text,
        });
    }
}

/// Whether the configuration itself names a device.
pub(crate) fn names_device(config: &NetworkConfig) -> bool {
    config.plugins.iter().any(|plugin| {
        DEVICE_KEYS
            .into_iter()
            .filter_map(|key| plugin.get::<String>(key))
            .any(|device| !device.is_empty())
    })
}
