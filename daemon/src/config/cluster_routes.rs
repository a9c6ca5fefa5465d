//! `clusterRoutes`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::fields::{Fields, FieldsError};

/// Networks in CIDR notation. Bits after the prefix are ignored.
pub(super) fn cluster_routes(fields: &Fields) -> Result<Vec<IpNet>, FieldsError> {
    const KEY: &str = "clusterRoutes";
    let parse = |text: String| match text.parse::<IpNet>() {
        Ok(network) if network.prefix_len() == 0 => {
            let allowed = "a part of the address space, because all of it is the default route";
            Err(FieldsError::string(KEY, &text, allowed))
        }
        Ok(network) if !is_unicast(&network) => {
            let allowed = "a network of unicast addresses, and not of the loopback interface or of \
                           IPv4 addresses in IPv6 form";
            Err(FieldsError::string(KEY, &text, allowed))
        }
        Ok(network) => Ok(network.trunc()),
        Err(_) => {
            let allowed = "a list of networks like [\"10.96.0.0/12\", \"fd00::/108\"]";
            Err(FieldsError::string(KEY, &text, allowed))
        }
    };
    let networks = fields.strings(KEY)?.unwrap_or_default();
    networks.into_iter().map(parse).collect()
}

/// Whether a route to the network can lead out of a pod.
fn is_unicast(network: &IpNet) -> bool {
    let address = network.network();
    let is_mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    !address.is_loopback() && !address.is_multicast() && !is_mapped
}
