//! The text of network-status: which entries a result makes. Pure.

use plexus_api::cni::{CniResult, Interface, Ip};
use plexus_api::status::NetworkStatus;
use serde_json::value::RawValue;

/// The entries of one attachment: one for each interface in the sandbox, at least one.
///
/// `network` is the name to show (K-082), `ifname` the interface asked for, which a result without an interface in the
/// sandbox leaves as the only one known (K-087). Where `default`, exactly one entry says so (K-081). Name resolution,
/// gateways and device are the attachment's, and stand in each entry (K-086).
pub(crate) fn entries(
    network: &str,
    ifname: &str,
    default: bool,
    result: &CniResult,
    device_info: Option<Box<RawValue>>,
) -> Vec<NetworkStatus> {
    let blank = NetworkStatus {
        name: network.to_owned(),
        interface: ifname.to_owned(),
        ips: Vec::new(),
        mac: String::new(),
        mtu: None,
        default: false,
        dns: result.dns.clone(),
        device_info,
        gateway: gateways(result),
    };
    let sandbox: Vec<(usize, &Interface)> = result
        .interfaces
        .iter()
        .enumerate()
        .filter(|(_, interface)| !interface.sandbox.is_empty())
        .collect();
    // As in the client library, the only interface of a result has all addresses, whatever index they carry (K-084).
    let all = result.interfaces.len() <= 1;
    if sandbox.is_empty() {
        let ips = addresses(result, |ip| all || ip.interface.is_none());
        return vec![NetworkStatus {
            ips,
            default,
            ..blank
        }];
    }
    let owner = if default {
        owner(result, &sandbox)
    } else {
        None
    };
    // And the last one has the addresses without an index.
    let last = sandbox.last().map(|(index, _)| *index);
    let entry = |&(index, interface): &(usize, &Interface)| NetworkStatus {
        interface: interface.name.clone(),
        ips: addresses(result, |ip| all || ip.interface.or(last) == Some(index)),
        mac: interface.mac.clone(),
        mtu: (interface.mtu > 0).then_some(interface.mtu),
        default: owner == Some(index),
        ..blank.clone()
    };
    sandbox.iter().map(entry).collect()
}

/// The interface that carries the default network: the first that owns an address with a gateway, else the first
/// (K-086). Addresses of the host's interfaces do not count, or no entry would be the default one.
fn owner(result: &CniResult, sandbox: &[(usize, &Interface)]) -> Option<usize> {
    let with_gateway = result
        .ips
        .iter()
        .filter(|ip| ip.gateway.is_some())
        .filter_map(|ip| ip.interface);
    let mut in_sandbox = with_gateway.filter(|of| sandbox.iter().any(|(index, _)| index == of));
    in_sandbox
        .next()
        .or_else(|| sandbox.first().map(|(index, _)| *index))
}

/// Addresses without their prefix length (K-085).
fn addresses(result: &CniResult, wanted: impl Fn(&Ip) -> bool) -> Vec<String> {
    result
        .ips
        .iter()
        .filter(|ip| wanted(ip))
        .map(|ip| ip.address.addr().to_string())
        .collect()
}

/// The gateways of the default routes; a default route without one has none to show (K-088).
fn gateways(result: &CniResult) -> Vec<String> {
    let default_routes = result.routes.iter().filter(|route| route.is_default());
    default_routes
        .filter_map(|route| route.gw)
        .map(|gateway| gateway.to_string())
        .collect()
}

#[cfg(test)]
mod tests;
