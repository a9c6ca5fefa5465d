//! Default routes of the main table: prefix length 0 in either notation, unicast, over a link. Routes in other tables,
//! `0.0.0.0/1` and the like, and refusals without a link are none of our business (K-042).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::{StreamExt as _, TryStreamExt as _};
use nix::errno::Errno;
use plexus_api::cni::{CniError, Code};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Netns, errno, reason};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

/// A default route: one next hop of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DefaultRoute {
    /// The link that it leads over.
    pub(crate) ifname: String,
    /// The gateway; none where the link itself is the way.
    pub(crate) gateway: Option<IpAddr>,
}

/// How often [`Netns::move_default_route`] looks: once too often means that something works against it.
const PASSES: usize = 4;

impl Netns {
    /// The default routes of one family.
    ///
    /// # Errors
    /// [`Code::Io`] with the kernel's reason.
    pub(crate) async fn default_routes(
        &mut self,
        family: Family,
    ) -> Result<Vec<DefaultRoute>, CniError> {
        let names = self.names().await?;
        let routes = self.defaults(family).await?;
        Ok(routes
            .iter()
            .flat_map(|route| named(route, &names))
            .collect())
    }

    /// Whether link `owner` has a default route of `family`.
    ///
    /// # Errors
    /// [`Code::Io`] with the kernel's reason.
    pub(crate) async fn owns_default(
        &mut self,
        family: Family,
        owner: &str,
    ) -> Result<bool, CniError> {
        Ok(self
            .default_routes(family)
            .await?
            .iter()
            .any(|route| route.ifname == owner))
    }

    /// Makes link `owner` the only one of the sandbox with a default route of `family`.
    ///
    /// With a gateway, the owner's own default routes are replaced by one over it. Without, the owner keeps its own,
    /// and where it has none of this family nothing changes at all. The new route is in place before any goes, so that
    /// an error leaves the sandbox reachable. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`Code::RouteFailed`], with the link, the gateway and the kernel's reason.
    pub(crate) async fn move_default_route(
        &mut self,
        family: Family,
        owner: &str,
        gateway: Option<IpAddr>,
    ) -> Result<(), CniError> {
        let names = self.names().await?;
        let Some(index) = names
            .iter()
            .find_map(|(index, name)| (name == owner).then_some(*index))
        else {
            return Err(failed(format!(
                "{family} default route: there is no link {owner:?} in the sandbox"
            )));
        };
        let is_own = |route: &RouteMessage| next_hops(route).iter().all(|(link, _)| *link == index);
        let is_wanted = |route: &RouteMessage| next_hops(route) == [(index, gateway)];
        let stays = |route: &RouteMessage| {
            if gateway.is_some() {
                is_wanted(route)
            } else {
                is_own(route)
            }
        };
        // A request to remove describes a route, and the first that fits goes, which may have been the wrong one.
        for _ in 0..PASSES {
            let present = self.defaults(family).await?;
            if present.iter().all(stays) && (gateway.is_none() || !present.is_empty()) {
                return Ok(());
            }
            match gateway {
                None if !present.iter().any(is_own) => return Ok(()),
                Some(gateway) if !present.iter().any(is_wanted) => {
                    self.add_default(family, index, owner, gateway).await?;
                }
                _ => {}
            }
            for route in present.iter().filter(|route| !stays(route)) {
                self.remove(family, route, &names).await?;
            }
        }
        Err(failed(format!(
            "{family} default route on {owner}: other default routes stay or come back"
        )))
    }

    /// The names of all links, by index.
    async fn names(&mut self) -> Result<BTreeMap<u32, String>, CniError> {
        Ok(self
            .links()
            .await?
            .into_iter()
            .map(|link| (link.index, link.name))
            .collect())
    }

    async fn defaults(&mut self, family: Family) -> Result<Vec<RouteMessage>, CniError> {
        let request = match family {
            Family::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
            Family::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
        };
        let request = self.handle.route().get(request);
        let mut routes = self
            .request(request.execute().try_collect::<Vec<_>>())
            .await
            .map_err(|error| self.failed("routes cannot be listed", &error))?;
        routes.retain(|route| is_default(route, family));
        Ok(routes)
    }

    /// Adds the route behind those with the same metric, which stay.
    async fn add_default(
        &mut self,
        family: Family,
        index: u32,
        owner: &str,
        gateway: IpAddr,
    ) -> Result<(), CniError> {
        let what = || format!("{family} default route via {gateway} on {owner} cannot be set");
        let route = match (family, gateway) {
            (Family::V4, IpAddr::V4(gateway)) => RouteMessageBuilder::<Ipv4Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
            (Family::V6, IpAddr::V6(gateway)) => RouteMessageBuilder::<Ipv6Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
            _ => return Err(failed(what() + ": the gateway is of the other family")),
        };
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewRoute(route));
        // Neither EXCL nor REPLACE: a clash with another link's route is the very reason for this call.
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND;
        let mut handle = self.handle.clone();
        let answer = async move {
            let mut answers = handle.request(request)?;
            while let Some(answer) = answers.next().await {
                if let NetlinkPayload::Error(error) = answer.payload {
                    return Err(rtnetlink::Error::NetlinkError(error));
                }
            }
            Ok(())
        };
        self.request(answer)
            .await
            .map_err(|error| match errno(&error) {
                Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL) => failed(format!(
                    "{}: the gateway is in no subnet of {owner}, or that link is down ({})",
                    what(),
                    reason(&error)
                )),
                _ => failed(format!("{}: {}", what(), reason(&error))),
            })
    }

    async fn remove(
        &mut self,
        family: Family,
        route: &RouteMessage,
        names: &BTreeMap<u32, String>,
    ) -> Result<(), CniError> {
        let mut request = RouteMessage::default();
        request.header = route.header.clone();
        request.header.flags = RouteFlags::empty();
        request.attributes = route
            .attributes
            .iter()
            .filter(|attribute| identifies(attribute))
            .cloned()
            .collect();
        let request = self.handle.route().del(request);
        match self.request(request.execute()).await {
            Err(error) if errno(&error) != Some(Errno::ESRCH) => Err(failed(format!(
                "{family} default route {} cannot be removed: {}",
                List(&named(route, names)),
                reason(&error)
            ))),
            // Gone by itself.
            _ => Ok(()),
        }
    }
}

/// What tells one route from another in a request to remove it.
fn identifies(attribute: &RouteAttribute) -> bool {
    matches!(
        attribute,
        RouteAttribute::Table(_)
            | RouteAttribute::Priority(_)
            | RouteAttribute::Oif(_)
            | RouteAttribute::Gateway(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::MultiPath(_)
    )
}

fn is_default(route: &RouteMessage, family: Family) -> bool {
    let address_family = match family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let named_table = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    route.header.address_family == address_family
        && route.header.destination_prefix_length == 0
        && route.header.kind == RouteType::Unicast
        && named_table.unwrap_or(route.header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN)
        && !next_hops(route).is_empty()
}

/// The ways of a route: link and gateway.
fn next_hops(route: &RouteMessage) -> Vec<(u32, Option<IpAddr>)> {
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

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address))
        | RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    })
}

fn named(route: &RouteMessage, names: &BTreeMap<u32, String>) -> Vec<DefaultRoute> {
    let named = |(link, gateway)| DefaultRoute {
        ifname: names
            .get(&link)
            .cloned()
            .unwrap_or_else(|| format!("link {link}")),
        gateway,
    };
    next_hops(route).into_iter().map(named).collect()
}

fn failed(msg: String) -> CniError {
    CniError::new(Code::RouteFailed, msg)
}

struct List<'a>(&'a [DefaultRoute]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, route) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            if let Some(gateway) = route.gateway {
                write!(f, "via {gateway} ")?;
            }
            write!(f, "on {}", route.ifname)?;
        }
        Ok(())
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}
