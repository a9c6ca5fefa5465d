//! Decides which attachments a sandbox gets, in order, from the gathered input.
//!
//! Pure: no I/O, no clock. Requests that cannot be granted are refused here, before any plugin
//! runs.

mod addition;
mod attachments;
mod devices;
mod difference;
mod input;
mod names;
mod network_names;
mod policy;
mod routes;
mod warning;

use plexus_api::cni::{CniError, Code};

use crate::model::{Attachment, DefaultRoutes};

pub(crate) use addition::plan_addition;
use devices::DeviceCursor;
pub(crate) use devices::names_device;
pub(crate) use difference::{Difference, free_ifnames};
pub(crate) use input::{NamedDefinition, NetworkNames, PlanInput, Policy, SelectedNetwork};
pub(crate) use names::{auxiliary_ifname, ifname};
pub(crate) use warning::{Warning, WarningKind};

#[cfg(test)]
mod tests;

/// The attachments of a sandbox, and the owners of its default routes.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The attachments in order: the default network (K-060), the common networks, the selected
    /// networks.
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) default_routes: DefaultRoutes,
    pub(crate) warnings: Vec<Warning>,
}

/// The largest number of networks of a pod beside its default network. Their plugins run one after
/// the other, and runtimes limit the time for a pod.
const MAX_NETWORKS: usize = 64;

/// The largest sum of the configurations of a pod, in bytes.
const MAX_SIZE: usize = 8 << 20;

/// The configurations of a pod are too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the configurations of the pod's networks have {} MiB in sum, but may have {} MiB; select fewer \
     networks or smaller ones (network {largest:?} has the largest, {} KiB)",
    .total.div_ceil(1 << 20), MAX_SIZE >> 20, .largest_size.div_ceil(1 << 10)
)]
pub(crate) struct PlanTooLarge {
    total: usize,
    largest: String,
    largest_size: usize,
}

impl From<PlanTooLarge> for CniError {
    fn from(error: PlanTooLarge) -> Self {
        Self::new(Code::InvalidAnnotation, error.to_string())
    }
}

/// Checks the sum of the configurations, from their names and sizes.
///
/// # Errors
/// [`PlanTooLarge`].
pub(crate) fn check_size<'a>(
    configs: impl Iterator<Item = (&'a str, usize)> + Clone,
) -> Result<(), PlanTooLarge> {
    let total = configs.clone().map(|(_, size)| size).sum();
    if total <= MAX_SIZE {
        return Ok(());
    }
    let (largest, largest_size) = configs.max_by_key(|(_, size)| *size).unwrap_or_default();
    Err(PlanTooLarge {
        total,
        largest: largest.to_owned(),
        largest_size,
    })
}

/// Plans the attachments of a sandbox.
///
/// # Errors
/// The first reason to refuse the pod, with the network and the position in the annotation.
/// `docs/troubleshooting.md` explains the codes.
pub(crate) fn plan(input: &PlanInput) -> Result<Plan, CniError> {
    let count = input.common_networks.len() + input.selected.len();
    if count > MAX_NETWORKS {
        let msg = format!(
            "the pod would get {count} networks beside its default network, but {MAX_NETWORKS} is \
             the limit; select fewer"
        );
        return Err(CniError::new(Code::InvalidAnnotation, msg));
    }
    // Checked before anything is copied (decision 37).
    let cni_args = input.cni_args.to_string().len();
    let networks: Vec<_> = input.networks().collect();
    check_size(
        networks
            .iter()
            .map(|planned| (planned.network.name.as_str(), planned.size() + cni_args)),
    )?;
    let names = names::assign(input);
    policy::check(input, &names)?;
    names::check(input, &names)?;
    let default_routes = routes::owners(input, &names)?;
    let mut warnings = Vec::new();
    let mut attachments = Vec::new();
    let mut devices = DeviceCursor::new(input);
    for (ifname, network) in names.into_iter().zip(input.networks()) {
        let attachment =
            attachments::attachment(input, ifname, &network, &mut devices, &mut warnings)?;
        attachments.push(attachment);
    }
    Ok(Plan {
        attachments,
        default_routes,
        warnings,
    })
}
