//! Syntax checks of addresses.

use std::net::IpAddr;

/// Whether `text` is an IP address, with or without a prefix length.
pub(super) fn is_address(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| {
        // `parse` accepts a sign.
        prefix.bytes().all(|b| b.is_ascii_digit())
            && prefix.parse::<u8>().is_ok_and(|length| length <= longest)
    })
}

/// Whether `text` is a hardware address of this many bytes, in a notation that Go's parser accepts:
/// pairs of hexadecimal digits separated by `:` or `-`, or groups of four digits separated by `.`.
pub fn is_hardware_address(text: &str, bytes: usize) -> bool {
    [(':', 2), ('-', 2), ('.', 4)]
        .into_iter()
        .any(|(separator, digits)| {
            let group =
                |group: &str| group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
            text.split(separator).all(group) && text.split(separator).count() * digits == bytes * 2
        })
}
