//! Recognises the DEL error of an attachment that no longer exists. The specification requires
//! plugins to report success in that case, but many plugins return the error of the kernel or of a
//! library (decision 13). Pure.

#[cfg(test)]
mod tests;

use super::answer::PluginError;

/// The errors of the kernel and of libraries for an interface that does not exist, in lower case.
const MISSING_INTERFACE: [&str; 3] = [
    // ENODEV, also as "no such device or address".
    "no such device",
    // Go's package net.
    "no such network interface",
    // iproute2.
    "cannot find device",
];
/// The errors for a path that is not, or no longer, a network namespace, in lower case. They count
/// only if the error names the path in `CNI_NETNS`.
const MISSING_NETNS: [&str; 3] = [
    "no such file or directory",
    // The error of containernetworking/plugins for a file that is no namespace.
    "unknown fs magic",
    "no such process",
];

/// Whether the error of a DEL means that there was nothing to delete. `netns` is `CNI_NETNS`.
pub(super) fn is_gone(error: &PluginError, netns: Option<&str>) -> bool {
    match error {
        PluginError::NotStarted(_) | PluginError::Killed(_) => false,
        PluginError::UnknownContainer(_) => true,
        PluginError::Failed(error) => {
            let text = error.msg.to_lowercase();
            MISSING_INTERFACE.iter().any(|phrase| text.contains(phrase))
                || names_missing_link(&text)
                || netns.is_some_and(|path| names_missing_netns(&text, path))
        }
    }
}

/// Whether the text says `link not found`, `link "net1" not found` or `link with name net1 not
/// found`, as versions of the netlink library do, or `device "net1" does not exist`, as `ip` does.
fn names_missing_link(text: &str) -> bool {
    let words: Vec<_> = text.split_whitespace().collect();
    words.iter().enumerate().any(|(index, word)| {
        let rest = &words[index + 1..];
        let ends_clause = |word: &str| word.ends_with([':', ';', ',']);
        let named = || !ends_clause(word) && rest.first().is_some_and(|name| !ends_clause(name));
        match bare(word) {
            "link" => {
                is_phrase(rest, &["not", "found"])
                    || (named() && is_phrase(&rest[1..], &["not", "found"]))
                    || (is_phrase(rest, &["with"])
                        && is_phrase(rest.get(3..).unwrap_or_default(), &["not", "found"]))
            }
            "device" => named() && is_phrase(&rest[1..], &["does", "not", "exist"]),
            _ => false,
        }
    })
}

/// Whether `words` start with `phrase`, whatever punctuation and quotes surround them.
fn is_phrase(words: &[&str], phrase: &[&str]) -> bool {
    words.len() >= phrase.len()
        && words
            .iter()
            .zip(phrase)
            .all(|(word, expected)| bare(word) == *expected)
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn names_missing_netns(text: &str, path: &str) -> bool {
    !path.is_empty()
        && text.contains(&path.to_lowercase())
        && MISSING_NETNS.iter().any(|phrase| text.contains(phrase))
}
