//! Validation of the names of Kubernetes objects (RFC 1123).

/// The rule that [`is_label`] checks, for messages.
pub(crate) const LABEL: &str =
    "lower-case letters, digits and '-', starting and ending with a letter or digit";

/// Whether `text` has the characters of a DNS-1123 label. The length is not checked: Kubernetes
/// limits only the length of whole names.
pub(crate) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether `text` is a valid name of a namespace.
pub(crate) fn is_namespace(text: &str) -> bool {
    is_label(text) && text.len() <= 63
}

/// Whether `text` is a valid name of a pod or a definition: a DNS-1123 subdomain.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}
