//! JSON text as Go's decoder reads it.

use std::borrow::Cow;

/// The text of `bytes`. Invalid UTF-8 and escaped surrogates without their other half become
/// U+FFFD, as in Go, so that no program can read a value that Plexus cannot. A byte order mark
/// before the text is skipped.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    let lone = lone_surrogates(text.as_bytes());
    if lone.is_empty() {
        return text;
    }
    let mut replaced = String::with_capacity(text.len());
    let mut end = 0;
    for digits in lone {
        replaced += &text[end..digits];
        replaced += "fffd";
        end = digits + 4;
    }
    Cow::Owned(replaced + &text[end..])
}

/// The positions of the four digits of each escaped surrogate without its other half. In JSON, a
/// backslash always begins an escape.
fn lone_surrogates(text: &[u8]) -> Vec<usize> {
    let mut lone = Vec::new();
    let mut at = 0;
    while let Some(offset) = text
        .get(at..)
        .and_then(|rest| rest.iter().position(|byte| *byte == b'\\'))
    {
        let escape = at + offset;
        at = match (code_unit(text, escape), code_unit(text, escape + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => escape + 12,
            (Some(0xd800..=0xdfff), _) => {
                lone.push(escape + 2);
                escape + 6
            }
            _ => escape + 2,
        };
    }
    lone
}

/// The value of the escape at `at`, which is `\u` with four hexadecimal digits. Returns `None` if
/// there is another text.
fn code_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let digits = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` accepts a sign.
    if digits.starts_with('+') {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests;
