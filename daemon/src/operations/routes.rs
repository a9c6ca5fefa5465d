//! Moves default routes after all networks are attached, in the kernel and in the results.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use plexus_api::cni::{CniError, Code, PluginResult, Route};

use crate::model::{Attachment, DefaultRoutes, RouteOwner};
use crate::netns::{Family, Netns};

/// Gives each family's default route to its owner. If the default network loses its own, the
/// destinations `cluster_routes` keep their way through its gateway (decision 29). Returns the
/// indexes of the results that changed.
pub(super) async fn move_default_routes(
    netns: &mut Netns,
    attachments: &[Attachment],
    owners: DefaultRoutes,
    cluster_routes: &[IpNet],
    results: &mut [PluginResult],
) -> Result<BTreeSet<usize>, CniError> {
    let mut changed = BTreeSet::new();
    for (family, owner) in [(Family::V4, owners.v4), (Family::V6, owners.v6)] {
        let Some(owner) = owner else { continue };
        let Some(attachment) = attachments.get(owner.attachment) else {
            continue;
        };
        if let Some(gateway) = owner
            .gateway
            .filter(|gateway| has_address(results, *gateway))
        {
            let msg =
                format!("{gateway} in default-route is no gateway, but the pod's own address");
            return Err(CniError::new(Code::RouteFailed, msg).context(attachment.label()));
        }
        if owner.gateway.is_none() && !netns.owns_default(family, &attachment.ifname).await? {
            // The owner has no default route of this family, so the others keep theirs (decision
            // 3).
            continue;
        }
        // First, so that the cluster stays reachable all the time.
        if !cluster_routes.is_empty()
            && !attachment.default
            && let Some(index) = attachments.iter().position(|other| other.default)
        {
            let label = |error| CniError::from(error).context(attachments[index].label());
            let link = &attachments[index].ifname;
            let kept = netns
                .keep_reachable(family, link, cluster_routes)
                .await
                .map_err(label)?;
            if let Some((gateway, destinations)) = kept.filter(|(_, added)| !added.is_empty()) {
                results[index] = with_routes(&results[index], gateway, &destinations)?;
                changed.insert(index);
            }
        }
        netns
            .move_default_route(family, &attachment.ifname, owner.gateway)
            .await
            .map_err(|error| CniError::from(error).context(attachment.label()))?;
        for (index, result) in results.iter_mut().enumerate() {
            if let Some(corrected) = corrected_result(result, family, owner, index)? {
                *result = corrected;
                changed.insert(index);
            }
        }
    }
    Ok(changed)
}

fn has_address(results: &[PluginResult], address: IpAddr) -> bool {
    let mut ips = results.iter().flat_map(|result| &result.result().ips);
    ips.any(|ip| ip.address.addr() == address)
}

/// The result with the default routes that the kernel has now. Returns `None` if nothing changes.
fn corrected_result(
    result: &PluginResult,
    family: Family,
    owner: RouteOwner,
    index: usize,
) -> Result<Option<PluginResult>, CniError> {
    let is_owner = owner.attachment == index;
    if is_owner && owner.gateway.is_none() {
        return Ok(None);
    }
    let mut corrected = result.result().clone();
    let in_family = |route: &Route| matches!(route.dst, IpNet::V4(_)) == (family == Family::V4);
    corrected
        .routes
        .retain(|route| !(route.is_default() && in_family(route) && in_main_table(route)));
    if let Some(gateway) = owner.gateway.filter(|_| is_owner) {
        corrected.routes.push(Route {
            gw: Some(gateway),
            ..Route::new(default_destination(family))
        });
    }
    if corrected == *result.result() {
        return Ok(None);
    }
    Ok(Some(PluginResult::from_result(
        corrected,
        result.version(),
    )?))
}

/// The result with these routes as well.
fn with_routes(
    result: &PluginResult,
    gateway: Option<IpAddr>,
    destinations: &[IpNet],
) -> Result<PluginResult, CniError> {
    let mut extended = result.result().clone();
    extended.routes.extend(destinations.iter().map(|dst| Route {
        gw: gateway,
        ..Route::new(*dst)
    }));
    Ok(PluginResult::from_result(extended, result.version())?)
}

/// Only default routes of the main table (number 254) move, in the kernel and here (K-042).
fn in_main_table(route: &Route) -> bool {
    matches!(route.table, None | Some(0 | 254))
}

fn default_destination(family: Family) -> IpNet {
    let any = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNet::new_assert(any, 0)
}
