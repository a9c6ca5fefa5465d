//! Which attachment owns the default routes.

use std::net::IpAddr;

use plexus_api::cni::{CniError, Code};

use super::PlanInput;
use crate::model::{DefaultRoutes, RouteOwner, place};

/// Decision 3: one IPv4 and one IPv6 gateway over all elements; an element with an empty list owns each family for
/// which no gateway is given and in which it turns out to have a default route.
pub(super) fn owners(input: &PlanInput, names: &[String]) -> Result<DefaultRoutes, CniError> {
    let mut owners = DefaultRoutes::default();
    let mut keeper: Option<usize> = None;
    for (index, (part, name)) in input.parts().zip(names).enumerate() {
        let Some(gateways) = part
            .selection
            .and_then(|selection| selection.default_route.as_ref())
        else {
            continue;
        };
        let refuse = |why: &str| {
            let msg = format!(
                "{}: key \"default-route\": {why}",
                place(&part.network.name, name)
            );
            Err(CniError::new(Code::InvalidAnnotation, msg))
        };
        if gateways.is_empty() && keeper.replace(index).is_some() {
            return refuse(
                "is an empty list in two elements; only one attachment can own the default routes",
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
    if let Some(attachment) = keeper {
        let keep = RouteOwner {
            attachment,
            gateway: None,
        };
        owners.v4.get_or_insert(keep);
        owners.v6.get_or_insert(keep);
    }
    Ok(owners)
}
