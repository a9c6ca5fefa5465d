//! What addresses look like, and how a message repeats what is wrong.

use std::net::IpAddr;

/// The longest text of others that a message repeats, in characters.
const MAX_SHOWN: usize = 60;

/// The text as a message repeats it: on one line, and cut where it is long.
pub(super) fn shown(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Whether the text is an IP address, with or without a prefix length.
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
        // A number of Rust may have a sign.
        prefix.bytes().all(|b| b.is_ascii_digit())
            && prefix.parse::<u8>().is_ok_and(|length| length <= longest)
    })
}

/// Whether the text is a hardware address of that many bytes, in one of the ways that Go's parser takes: pairs of
/// hexadecimal digits with `:` or `-` between them, or groups of four with `.`.
pub(super) fn is_hardware_address(text: &str, bytes: usize) -> bool {
    [(':', 2), ('-', 2), ('.', 4)]
        .into_iter()
        .any(|(separator, digits)| {
            let group =
                |group: &str| group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
            text.split(separator).all(group) && text.split(separator).count() * digits == bytes * 2
        })
}
