//! The value of the network-status annotation. Pure.

use plexus_api::cni::{CniResult, Interface, Ip, Route};
use plexus_api::selection::is_hardware_address;
use plexus_api::status::{self, NetworkStatus};
use serde_json::value::RawValue;

use super::StatusContent;

/// The value of the annotation. Returns `None` if the value has more than `max` bytes.
pub(super) fn render(content: &StatusContent<'_>, max: usize) -> Option<String> {
    let entries = content
        .entries
        .iter()
        .filter(|entry| entry.attachment.is_reported(entry.result.result()))
        .flat_map(|entry| {
            entries(
                &entry.attachment.network,
                &entry.attachment.ifname,
                entry.attachment.default,
                entry.result.result(),
                entry.device_info.map(ToOwned::to_owned),
            )
        });
    status::render(entries, max)
}

/// The entries of one attachment: one for each interface in the sandbox, but at least one.
///
/// `network` is the displayed name (K-082). `ifname` is the requested interface, for a result
/// without an interface in the sandbox (K-087). If `default` is set, exactly one entry is marked
/// (K-081). DNS, gateways and device belong to the attachment, so every entry has them (K-086).
fn entries<'a>(
    network: &str,
    ifname: &str,
    default: bool,
    result: &'a CniResult,
    device_info: Option<Box<RawValue>>,
) -> impl Iterator<Item = NetworkStatus> + use<'a> {
    let template = NetworkStatus {
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
    let in_sandbox: Vec<(usize, &Interface)> = result
        .interfaces
        .iter()
        .enumerate()
        .filter(|(_, interface)| is_of_pod(interface, ifname))
        .collect();
    // As in the client library, the only interface of a result has all addresses, whatever their
    // index (K-084).
    let has_one_interface = result.interfaces.len() <= 1;
    let without_interface = in_sandbox.is_empty().then(|| NetworkStatus {
        ips: addresses(result, |ip| has_one_interface || ip.interface.is_none()),
        default,
        ..template.clone()
    });
    let default_index = if default {
        default_interface(result, &in_sandbox)
    } else {
        None
    };
    // As in the client library, the last interface has the addresses without an index.
    let last_index = in_sandbox.last().map(|(index, _)| *index);
    let entry = move |(index, interface): (usize, &Interface)| NetworkStatus {
        interface: interface.name.clone(),
        ips: addresses(result, |ip| {
            has_one_interface || ip.interface.or(last_index) == Some(index)
        }),
        mac: if is_mac(&interface.mac) {
            interface.mac.clone()
        } else {
            String::new()
        },
        mtu: (interface.mtu > 0).then_some(interface.mtu),
        default: default_index == Some(index),
        ..template.clone()
    };
    without_interface
        .into_iter()
        .chain(in_sandbox.into_iter().map(entry))
}

/// The index of the interface whose entry is marked as the default: the first one in the sandbox
/// that has an address with a gateway, otherwise the first one in the sandbox (K-086).
fn default_interface(result: &CniResult, in_sandbox: &[(usize, &Interface)]) -> Option<usize> {
    result
        .ips
        .iter()
        .filter(|ip| ip.gateway.is_some())
        .filter_map(|ip| ip.interface)
        .find(|index| in_sandbox.iter().any(|(other, _)| other == index))
        .or_else(|| in_sandbox.first().map(|(index, _)| *index))
}

/// The selected addresses, without their prefix length (K-085).
fn addresses(result: &CniResult, is_selected: impl Fn(&Ip) -> bool) -> Vec<String> {
    result
        .ips
        .iter()
        .filter(|ip| is_selected(ip))
        .map(|ip| ip.address.addr().to_string())
        .collect()
}

/// Whether an interface of a result is an interface of the pod. The AWS VPC CNI also lists one for
/// its own records, whose MAC and sandbox are numbers (K-083).
fn is_of_pod(interface: &Interface, ifname: &str) -> bool {
    let has_no_or_valid_mac = interface.mac.is_empty() || is_mac(&interface.mac);
    interface.sandbox.starts_with('/') && (interface.name == ifname || has_no_or_valid_mac)
}

/// Whether the text is a hardware address: of Ethernet, of EUI-64, or of InfiniBand.
fn is_mac(text: &str) -> bool {
    [6, 8, 20]
        .iter()
        .any(|&bytes| is_hardware_address(text, bytes))
}

/// The gateways of the default routes (K-088). A route without one goes through the gateway of the
/// first address of its family that has one, as the reference plugins set it up.
fn gateways(result: &CniResult) -> Vec<String> {
    let of_address = |route: &Route| {
        let same_family = |ip: &&Ip| ip.address.addr().is_ipv4() == route.dst.addr().is_ipv4();
        let mut addresses = result.ips.iter().filter(same_family);
        addresses.find_map(|ip| ip.gateway)
    };
    result
        .routes
        .iter()
        .filter(|route| route.is_default())
        .filter_map(|route| route.gw.or_else(|| of_address(route)))
        .map(|gateway| gateway.to_string())
        .collect()
}

#[cfg(test)]
mod tests;
