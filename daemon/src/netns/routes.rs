//! Default routes of the main table: prefix length 0 in either notation, unicast, over a link.
//! Routes of other tables, `0.0.0.0/1` and the like, and unreachable routes are never changed
//! (K-042).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::{StreamExt as _, TryStreamExt as _};
use nix::errno::Errno;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netns, NetnsError, RouteProblem, errno};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// One next hop of a default route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultRoute {
    pub(crate) ifname: String,
    /// `None` for a route without a gateway, directly over the link.
    pub(crate) gateway: Option<IpAddr>,
}

/// How many times [`Netns::move_default_route`] lists the routes before it concludes that another
/// program keeps changing them.
const MAX_PASSES: usize = 4;

impl Netns {
    /// Lists the default routes of `family`.
    pub(crate) async fn default_routes(
        &mut self,
        family: Family,
    ) -> Result<Vec<DefaultRoute>, NetnsError> {
        let names = self.link_names().await?;
        let routes = self.list_defaults(family).await?;
        Ok(routes
            .iter()
            .flat_map(|route| with_names(route, &names))
            .collect())
    }

    /// Whether `link` has a default route of `family`.
    pub(crate) async fn owns_default(
        &mut self,
        family: Family,
        link: &str,
    ) -> Result<bool, NetnsError> {
        Ok(self
            .default_routes(family)
            .await?
            .iter()
            .any(|route| route.ifname == link))
    }

    /// Makes `link` the only link of the sandbox with a default route of `family`.
    ///
    /// With a gateway, the link's own default routes are replaced by one via the gateway. Without a
    /// gateway, the link keeps its own default routes; if the link has none, nothing changes. The
    /// new route is added before any route is removed, so the sandbox stays reachable on an error.
    /// Idempotent.
    pub(crate) async fn move_default_route(
        &mut self,
        family: Family,
        link: &str,
        gateway: Option<IpAddr>,
    ) -> Result<(), NetnsError> {
        let failed = |problem| NetnsError::MoveDefaultRoute {
            family,
            link: link.to_owned(),
            problem,
        };
        let names = self.link_names().await?;
        let index = names
            .iter()
            .find_map(|(index, name)| (name == link).then_some(*index))
            .ok_or_else(|| failed(RouteProblem::NoSuchLink))?;
        let is_own = |route: &RouteMessage| next_hops(route).iter().all(|(link, _)| *link == index);
        let is_wanted = |route: &RouteMessage| next_hops(route) == [(index, gateway)];
        let stays = |route: &RouteMessage| {
            if gateway.is_some() {
                is_wanted(route)
            } else {
                is_own(route)
            }
        };
        // The kernel removes the first route that matches a removal, which may be the wrong one, so
        // the result is checked and the pass repeated.
        for _ in 0..MAX_PASSES {
            let present = self.list_defaults(family).await?;
            if present.iter().all(stays) && (gateway.is_none() || !present.is_empty()) {
                return Ok(());
            }
            match gateway {
                None if !present.iter().any(is_own) => return Ok(()),
                Some(gateway) if !present.iter().any(is_wanted) => {
                    self.add_default(family, index, gateway)
                        .await
                        .map_err(failed)?;
                }
                _ => {}
            }
            for route in present.iter().filter(|route| !stays(route)) {
                self.remove(route, &names).await.map_err(failed)?;
            }
        }
        Err(failed(RouteProblem::OthersRemain))
    }

    /// The names of all links, by index.
    pub(super) async fn link_names(&mut self) -> Result<BTreeMap<u32, String>, NetnsError> {
        Ok(self
            .links()
            .await?
            .into_iter()
            .map(|link| (link.index, link.name))
            .collect())
    }

    pub(super) async fn list_defaults(
        &mut self,
        family: Family,
    ) -> Result<Vec<RouteMessage>, NetnsError> {
        let filter = match family {
            Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        let request = self.handle.route().get(filter);
        let mut routes: Vec<_> = self
            .request(request.execute().try_collect())
            .await
            .map_err(|error| self.netlink_error("listing routes", error))?;
        routes.retain(|route| is_default(route, family));
        Ok(routes)
    }

    /// Appends a default route. Existing routes with the same metric stay.
    async fn add_default(
        &mut self,
        family: Family,
        index: u32,
        gateway: IpAddr,
    ) -> Result<(), RouteProblem> {
        let route = match (family, gateway) {
            (Family::V4, IpAddr::V4(gateway)) => RouteMessageBuilder::<Ipv4Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
            (Family::V6, IpAddr::V6(gateway)) => RouteMessageBuilder::<Ipv6Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
            _ => return Err(RouteProblem::WrongFamily(gateway)),
        };
        // Neither NLM_F_EXCL nor NLM_F_REPLACE: another link's default route is usually there.
        self.create_route(route, NLM_F_CREATE | NLM_F_APPEND)
            .await
            .map_err(|error| match errno(&error) {
                Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL) => {
                    RouteProblem::Unreachable { gateway, error }
                }
                _ => RouteProblem::Add { gateway, error },
            })
    }

    /// Adds a route with these flags of the request, which the library cannot set.
    pub(super) async fn create_route(
        &mut self,
        route: RouteMessage,
        flags: u16,
    ) -> Result<(), rtnetlink::Error> {
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewRoute(route));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut handle = self.handle.clone();
        let acknowledged = async move {
            let mut messages = handle.request(request)?;
            while let Some(message) = messages.next().await {
                if let NetlinkPayload::Error(error) = message.payload {
                    return Err(rtnetlink::Error::NetlinkError(error));
                }
            }
            Ok(())
        };
        self.request(acknowledged).await
    }

    /// Removes a route. Succeeds if the route no longer exists.
    async fn remove(
        &mut self,
        route: &RouteMessage,
        names: &BTreeMap<u32, String>,
    ) -> Result<(), RouteProblem> {
        let is_object = |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::NhId(_));
        let uses_object = route.attributes.iter().any(is_object);
        let mut request = RouteMessage::default();
        request.header = route.header.clone();
        request.header.flags = RouteFlags::empty();
        request.attributes = route
            .attributes
            .iter()
            .filter(|attribute| identifies(attribute, uses_object))
            .cloned()
            .collect();
        let request = self.handle.route().del(request);
        match self.request(request.execute()).await {
            Err(error) if errno(&error) != Some(Errno::ESRCH) => Err(RouteProblem::Remove {
                route: describe(&with_names(route, names)),
                error,
            }),
            _ => Ok(()),
        }
    }
}

/// Whether the kernel compares this attribute to find the route to remove. If the route uses a
/// nexthop object, the kernel lists the next hops of the object, but compares only its ID.
fn identifies(attribute: &RouteAttribute, uses_object: bool) -> bool {
    match attribute {
        RouteAttribute::Table(_) | RouteAttribute::Priority(_) | RouteAttribute::NhId(_) => true,
        RouteAttribute::Oif(_)
        | RouteAttribute::Gateway(_)
        | RouteAttribute::Via(_)
        | RouteAttribute::MultiPath(_) => !uses_object,
        _ => false,
    }
}

fn is_default(route: &RouteMessage, family: Family) -> bool {
    let address_family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let table = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    route.header.address_family == address_family
        && route.header.destination_prefix_length == 0
        && route.header.kind == RouteType::Unicast
        && table.unwrap_or(route.header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN)
        && !next_hops(route).is_empty()
}

/// The next hops of a route: link index and gateway.
pub(super) fn next_hops(route: &RouteMessage) -> Vec<(u32, Option<IpAddr>)> {
    let (mut hops, mut link) = (Vec::new(), None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::MultiPath(list) => {
                hops.extend(
                    list.iter()
                        .map(|hop| (hop.interface_index, gateway(&hop.attributes))),
                );
            }
            _ => {}
        }
    }
    hops.extend(link.map(|link| (link, gateway(&route.attributes))));
    hops
}

/// The metric of a route; the lowest one is used.
pub(super) fn priority(route: &RouteMessage) -> u32 {
    let priority = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Priority(priority) => Some(*priority),
        _ => None,
    };
    route.attributes.iter().find_map(priority).unwrap_or(0)
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address))
        | RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}

/// The next hops of a route, with the names of their links.
fn with_names(route: &RouteMessage, names: &BTreeMap<u32, String>) -> Vec<DefaultRoute> {
    next_hops(route)
        .into_iter()
        .map(|(link, gateway)| DefaultRoute {
            ifname: names
                .get(&link)
                .cloned()
                .unwrap_or_else(|| format!("link {link}")),
            gateway,
        })
        .collect()
}

fn describe(hops: &[DefaultRoute]) -> String {
    hops.iter()
        .map(|hop| match hop.gateway {
            Some(gateway) => format!("via {gateway} on {}", hop.ifname),
            None => format!("on {}", hop.ifname),
        })
        .collect::<Vec<_>>()
        .join(", ")
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
