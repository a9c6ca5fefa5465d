//! How the values of a result are read: as strictly as the specification, as leniently as Go's decoder, in which nearly
//! every plugin's output is read today.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// `null` is the same as absent.
pub(super) fn null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An address without prefix length; empty is none.
pub(super) fn address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IpAddr>, D::Error> {
    let text: String = null(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text
        .parse()
        .map_err(|_| D::Error::custom(format!("{text:?} is not an IP address")))?;
    Ok(Some(address.to_canonical()))
}

/// An address with its prefix length, host bits kept. IPv4-mapped IPv6 becomes the IPv4 that it means (T-010).
pub(super) fn cidr<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNet, D::Error> {
    let text = String::deserialize(deserializer)?;
    let net: IpNet = text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{text:?} is not an IP address with a prefix length, as 10.1.2.3/24"
        ))
    })?;
    if let (IpAddr::V4(address), Some(prefix)) =
        (net.addr().to_canonical(), net.prefix_len().checked_sub(96))
        && let Ok(net) = Ipv4Net::new(address, prefix)
    {
        return Ok(net.into());
    }
    Ok(net)
}

/// An index; what is below zero is none (T-007).
pub(super) fn index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.and_then(|index| usize::try_from(index).ok()))
}
