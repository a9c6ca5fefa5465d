//! A search for keys at any depth.

use std::iter;

use super::{decode, keys_match};

/// All strings at `key` in `json`, at any depth, decoded.
///
/// Finds every value that a Go program could read at this key: repeated keys, keys in another
/// case, and keys in parts that cannot be parsed as a whole, such as beside a number out of range.
/// The text is scanned once, whatever its depth.
pub fn strings_at<'a>(json: &'a str, key: &'a str) -> impl Iterator<Item = String> + 'a {
    let mut rest = json;
    let mut last: Option<&str> = None;
    iter::from_fn(move || {
        loop {
            let (before, string, tail) = next_string(rest)?;
            rest = tail;
            // Only a colon separates a key from its string value.
            let Some(found) = last.take_if(|_| before.trim() == ":") else {
                last = Some(string);
                continue;
            };
            if keys_match(&unquote(found), key) {
                return Some(unquote(string));
            }
        }
    })
}

/// The text of a string in JSON. Text that is no valid string is returned as it is, so that it is
/// never mistaken for a missing value.
fn unquote(string: &str) -> String {
    serde_json::from_str(&decode(string.as_bytes())).unwrap_or_else(|_| string.to_owned())
}

/// The next string including its quotes, with the text before and after it.
fn next_string(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find('"')?;
    let mut escaped = false;
    let length = text[start + 1..].find(|c| {
        let end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        end
    })?;
    let end = start + 1 + length + 1;
    Some((&text[..start], &text[start..end], &text[end..]))
}

#[cfg(test)]
mod tests;
