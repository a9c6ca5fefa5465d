//! The owners of the default routes.

use std::net::IpAddr;

use plexus_api::cni::{CniError, Code};

use super::input::PlanInput;
use crate::model::{DefaultRoutes, RouteOwner, attachment_label};

/// Decision 3: one IPv4 and one IPv6 gateway over all elements. An element with an empty list owns
/// each family that has no gateway and in which its attachment turns out to have a default route.
pub(super) fn owners(input: &PlanInput, names: &[String]) -> Result<DefaultRoutes, CniError> {
    let mut owners = DefaultRoutes::default();
    let mut empty_list: Option<usize> = None;
    for (index, (planned, name)) in input.networks().zip(names).enumerate() {
        let Some(gateways) = planned
            .selection
            .and_then(|selection| selection.default_route.as_ref())
        else {
            continue;
        };
        let refuse = |reason: &str| {
            let label = attachment_label(&planned.network.name, name);
            let msg = format!("{label}: key \"default-route\": {reason}");
            Err(CniError::new(Code::InvalidAnnotation, msg))
        };
        if gateways.is_empty() && empty_list.replace(index).is_some() {
            return refuse(
                "two elements have an empty list; only one attachment can own the default routes",
            );
        }
        for gateway in gateways {
            let owner = match gateway {
                IpAddr::V4(_) => &mut owners.v4,
                IpAddr::V6(_) => &mut owners.v6,
            };
            if owner.is_some() {
                return refuse(&format!(
                    "{gateway} is a second gateway of its family; a pod can have one of each"
                ));
            }
            *owner = Some(RouteOwner {
                attachment: index,
                gateway: Some(*gateway),
            });
        }
    }
    if let Some(attachment) = empty_list {
        let owner = RouteOwner {
            attachment,
            gateway: None,
        };
        owners.v4.get_or_insert(owner);
        owners.v6.get_or_insert(owner);
    }
    Ok(owners)
}
