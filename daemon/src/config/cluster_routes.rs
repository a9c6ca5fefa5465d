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

#[cfg(test)]
mod tests {
    use plexus_api::rows;

    use super::*;

    fn read(text: &str) -> Result<Vec<IpNet>, FieldsError> {
        cluster_routes(&Fields::parse(text)?)
    }

    #[test]
    fn cluster_routes_are_networks() {
        rows!("P-034");
        let routes = read(r#"{"clusterRoutes":["10.96.0.1/12","fd00::/108"]}"#).expect("valid");
        let routes: Vec<_> = routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["10.96.0.0/12", "fd00::/108"]);
        for (invalid, reason) in [
            ("10.96.0.0", "a list of networks"),
            ("cluster", "a list of networks"),
            ("0.0.0.0/0", "the default route"),
            ("fd00::/0", "the default route"),
            ("127.0.0.0/8", "loopback"),
            ("::1/128", "loopback"),
            ("224.0.0.0/4", "unicast"),
            ("ff02::1/128", "unicast"),
            ("::ffff:10.96.0.0/108", "IPv4 addresses in IPv6 form"),
        ] {
            let text = format!(r#"{{"clusterRoutes":["{invalid}"]}}"#);
            let error = read(&text).expect_err(invalid).to_string();
            for part in ["clusterRoutes", invalid, reason] {
                assert!(error.contains(part), "{error} should name {part}");
            }
        }
    }
}
