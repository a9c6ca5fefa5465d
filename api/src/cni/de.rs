//! Deserializers for the fields of a result. They are as lenient as Go's decoder, which reads
//! nearly all plugin output today.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::quote;

/// Any value; null means the default.
pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An address without a prefix length; an empty string means `None`.
pub(super) fn address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IpAddr>, D::Error> {
    let text: String = null_as_default(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text
        .parse()
        .map_err(|_| D::Error::custom(format!("{} is not an IP address", quote(&text))))?;
    Ok(Some(address.to_canonical()))
}

/// An address with its prefix length; host bits are kept. An IPv4-mapped IPv6 address becomes IPv4
/// (T-010).
pub(super) fn cidr<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNet, D::Error> {
    let text = String::deserialize(deserializer)?;
    let net: IpNet = text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{} is not an IP address with a prefix length, such as 10.1.2.3/24",
            quote(&text)
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

/// An index; a negative number means `None` (T-007).
pub(super) fn index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.and_then(|index| usize::try_from(index).ok()))
}
