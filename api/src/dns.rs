//! The names that Kubernetes gives to its objects: those of RFC 1123.

/// What [`is_label`] wants, for messages.
pub(crate) const LABEL: &str =
    "lower-case letters, digits and '-', the first and the last a letter or digit";

/// Whether the text has the form of a DNS-1123 label, of any length: Kubernetes limits an object's name as a whole.
pub(crate) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a namespace can have this name.
pub(crate) fn is_namespace(text: &str) -> bool {
    is_label(text) && text.len() <= 63
}

/// Whether a pod or a definition can have this name: a DNS-1123 subdomain.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
