//! Text from outside in messages: escaped and cut, so that no input makes an error, an event or a
//! log line long or spreads it over several lines.

use std::fmt;

/// The longest text that a message repeats, in characters.
const MAX_QUOTE: usize = 120;
/// The characters that [`shorten`] keeps of the start of a text.
const KEPT_START: usize = 80;

/// Displays a text in quotes; see [`quote()`].
#[derive(Debug, Clone, Copy)]
pub struct Quote<'a>(&'a str);

/// Displays `text` in quotes, escaped as with `{:?}`, and cut to 120 characters: `"a\nb"`, or
/// `"aaaa"… (1048576 bytes)`.
pub fn quote(text: &str) -> Quote<'_> {
    Quote(text)
}

/// Returns `text` on one line, with single spaces. Only the first 80 and the last 40 characters of a
/// longer text are kept: for JSON, and for messages of libraries, which may end with a position.
pub fn shorten(text: &str) -> String {
    // Of a very long text, only the parts that can be kept are looked at.
    let head = one_line(&text[..text.floor_char_boundary(4 * MAX_QUOTE)]);
    let tail = one_line(&text[text.ceil_char_boundary(text.len().saturating_sub(4 * MAX_QUOTE))..]);
    if text.len() <= 4 * MAX_QUOTE && cut(&head).is_none() {
        return head;
    }
    let start = char_boundary(&head, KEPT_START);
    let end = tail.chars().count().saturating_sub(MAX_QUOTE - KEPT_START);
    let end = char_boundary(&tail, end);
    format!("{}…{} ({} bytes)", &head[..start], &tail[end..], text.len())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The position of the character at `index`, or the end of the text.
fn char_boundary(text: &str, index: usize) -> usize {
    text.char_indices()
        .nth(index)
        .map_or(text.len(), |(position, _)| position)
}

/// The start of a text that is too long.
fn cut(text: &str) -> Option<&str> {
    let end = char_boundary(text, MAX_QUOTE);
    (end < text.len()).then(|| &text[..end])
}

impl fmt::Display for Quote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match cut(self.0) {
            Some(start) => write!(f, "{start:?}… ({} bytes)", self.0.len()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_is_complete_and_escaped() {
        assert_eq!(quote(" a\"\nä ").to_string(), r#"" a\"\nä ""#);
        assert_eq!(shorten("{\"a\":\n\t\"ä\"}"), r#"{"a": "ä"}"#);
        let longest = "ä".repeat(MAX_QUOTE);
        assert_eq!(quote(&longest).to_string(), format!("\"{longest}\""));
    }

    #[test]
    fn long_text_is_cut_and_its_length_is_named() {
        let long = "ä".repeat(1 << 20);
        let cut = "ä".repeat(MAX_QUOTE);
        assert_eq!(
            quote(&long).to_string(),
            format!("\"{cut}\"… (2097152 bytes)")
        );
        let shown = format!("{}…{} (2097152 bytes)", "ä".repeat(80), "ä".repeat(40));
        assert_eq!(shorten(&long), shown);
        let words = "a ".repeat(1000);
        let shown = format!("{}…{} (2000 bytes)", "a ".repeat(40), " a".repeat(20));
        assert_eq!(shorten(&words), shown);
        let longest = "a".repeat(MAX_QUOTE);
        assert_eq!(shorten(&longest), longest);
        let error = format!("invalid type: string {long:?} at line 1 column 9");
        assert!(
            shorten(&error).contains("\" at line 1 column 9 ("),
            "{}",
            shorten(&error)
        );
    }
}
