//! What names and addresses look like.

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

/// What [`is_label`] wants, for messages.
pub(super) const LABEL: &str = "lower-case letters, digits and '-', the first and the last a letter or digit";

/// Whether the text has the form of a DNS-1123 label, of any length: Kubernetes limits an object's name as a whole.
pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a namespace can have this name.
pub(super) fn is_namespace(text: &str) -> bool {
    is_label(text) && text.len() <= 63
}

/// Whether a definition can have this name: a DNS-1123 subdomain.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether the text is an IP address, with or without a prefix length.
pub(super) fn is_address(text: &str) -> bool {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let longest = if address.is_ipv4() { 32 } else { 128 };
    prefix.is_none_or(|prefix| {
        // A number of Rust may have a sign.
        prefix.bytes().all(|b| b.is_ascii_digit()) && prefix.parse::<u8>().is_ok_and(|length| length <= longest)
    })
}

/// Whether the text is a hardware address of that many bytes, in one of the ways that Go's parser takes: pairs of
/// hexadecimal digits with `:` or `-` between them, or groups of four with `.`.
pub(super) fn is_hardware_address(text: &str, bytes: usize) -> bool {
    [(':', 2), ('-', 2), ('.', 4)].into_iter().any(|(separator, digits)| {
        let group = |group: &str| group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
        text.split(separator).all(group) && text.split(separator).count() * digits == bytes * 2
    })
}
