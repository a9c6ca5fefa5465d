//! Plans one further attachment of a running sandbox.

use plexus_api::cni::{CniError, Code};

use super::input::PlanInput;
use super::warning::Warning;
use super::{MAX_NETWORKS, check_size, plan};
use crate::model::{Allocation, Attachment, Origin, attachment_label};

/// Plans the only network of `input` for a sandbox that has `attached` already. `input.links` has
/// the names of all interfaces, those without a link as well.
///
/// # Errors
/// The reason to refuse the network, as in [`plan`]; a request for the default route, which would
/// interrupt the pod's connections.
pub(crate) fn plan_addition(
    input: &PlanInput,
    attached: &[&Attachment],
) -> Result<(Attachment, Vec<Warning>), CniError> {
    let network = &input.default_network;
    let refuse = |reason: &str| {
        let label = attachment_label(&network.name, &input.ifname);
        Err(CniError::new(
            Code::InvalidAnnotation,
            format!("{label}: {reason}"),
        ))
    };
    let selection = input.default_selection.as_ref();
    if selection.is_some_and(|selection| selection.default_route.is_some()) {
        return refuse("\"default-route\" of a running pod cannot change; create the pod again");
    }
    let others = attached.iter().filter(|attachment| !attachment.default);
    if others.count() >= MAX_NETWORKS {
        return refuse(&format!(
            "the pod has {MAX_NETWORKS} networks beside its default network, which is the limit"
        ));
    }
    let sizes = attached
        .iter()
        .map(|attachment| (attachment.network.as_str(), attachment.config.size()));
    check_size(sizes.chain([(network.name.as_str(), network.config.size())]))?;
    let plan = plan(input).map_err(|error| retry_unknown_devices(error, input))?;
    let Some(attachment) = plan.attachments.into_iter().next() else {
        return refuse("the plan has no network");
    };
    let attachment = Attachment {
        default: false,
        origin: Origin::Annotation,
        ..attachment
    };
    Ok((attachment, plan.warnings))
}

/// Devices that cannot be read now are no reason to refuse the network.
fn retry_unknown_devices(error: CniError, input: &PlanInput) -> CniError {
    let resource = input.default_network.resource_name.as_ref();
    let allocation = resource.and_then(|resource| input.devices.get(resource));
    let is_unknown = matches!(
        allocation,
        Some(Allocation::Unknown(_) | Allocation::Incomplete(..))
    );
    if error.is(Code::DeviceMissing) && is_unknown {
        return CniError {
            code: Code::TryAgain as u32,
            ..error
        };
    }
    error
}
