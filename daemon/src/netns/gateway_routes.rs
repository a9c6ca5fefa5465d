//! Routes via the gateway of a default route that is about to move (decision 29).

use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::route::RouteScope;

use super::routes::{next_hops, priority};
use super::{Family, Netns, NetnsError, errno};

impl Netns {
    /// Gives the destinations of `family` routes of their own over `link`, via the gateway of its
    /// default route. The gateway need not be in a subnet of the link: Calico, Cilium and AWS use
    /// 169.254.1.1. Existing routes to a destination stay.
    ///
    /// Returns the gateway (`None`: the default route has none) and the destinations that got a
    /// route. Does nothing and returns `None` if the link has no default route.
    pub(crate) async fn keep_reachable(
        &mut self,
        family: Family,
        link: &str,
        destinations: &[IpNet],
    ) -> Result<Option<(Option<IpAddr>, Vec<IpNet>)>, NetnsError> {
        let names = self.link_names().await?;
        let Some(index) = names
            .iter()
            .find_map(|(index, name)| (name == link).then_some(*index))
        else {
            return Ok(None);
        };
        let mut routes = self.list_defaults(family).await?;
        routes.sort_by_key(priority);
        let gateway = routes
            .iter()
            .flat_map(next_hops)
            .find_map(|(hop, gateway)| (hop == index).then_some(gateway));
        let Some(gateway) = gateway else {
            return Ok(None);
        };
        let mut added = Vec::new();
        for &destination in destinations {
            if matches!(destination, IpNet::V4(_)) != (family == Family::V4) {
                continue;
            }
            let mut outcome = self.add_via(index, destination, gateway, false).await;
            if matches!(&outcome, Err(error) if is_unreachable(error)) {
                outcome = self.add_via(index, destination, gateway, true).await;
            }
            match outcome {
                Ok(()) => added.push(destination),
                Err(error) if errno(&error) == Some(Errno::EEXIST) => {}
                Err(error) => {
                    let action = format!("adding the route of clusterRoutes to {destination}");
                    return Err(self.netlink_error(action, error));
                }
            }
        }
        Ok(Some((gateway, added)))
    }

    async fn add_via(
        &mut self,
        index: u32,
        destination: IpNet,
        gateway: Option<IpAddr>,
        onlink: bool,
    ) -> Result<(), rtnetlink::Error> {
        let mut builder = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(destination.addr(), destination.prefix_len())
            .map_err(|error| invalid(&error))?
            .output_interface(index);
        builder = match gateway {
            Some(gateway) => builder.gateway(gateway).map_err(|error| invalid(&error))?,
            None if destination.addr().is_ipv4() => builder.scope(RouteScope::Link),
            None => builder,
        };
        if onlink {
            builder = builder.onlink();
        }
        self.create_route(builder.build(), NLM_F_CREATE | NLM_F_EXCL)
            .await
    }
}

fn is_unreachable(error: &rtnetlink::Error) -> bool {
    matches!(
        errno(error),
        Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EINVAL)
    )
}

fn invalid(error: &impl Display) -> rtnetlink::Error {
    rtnetlink::Error::InvalidNla(error.to_string())
}
