//! Text about errors of the operating system.

use std::borrow::Cow;

const START: &str = " (os error ";

/// The text without the numbers that the standard library appends to errors of the operating
/// system, as in `No such file or directory (os error 2)`. The numbers say nothing to users.
pub fn without_os_codes(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(START) {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, end) = after.split_at(digits);
        kept.push_str(before);
        if let Some(end) = end.strip_prefix(')').filter(|_| !number.is_empty()) {
            rest = end;
        } else {
            kept.push_str(START);
            rest = after;
        }
    }
    if kept.is_empty() && rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(kept + rest)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn numbers_of_the_operating_system_are_removed() {
        let error = io::Error::from_raw_os_error(2);
        let text = format!("/a: {error}; /b: {error}");
        let expected = "/a: No such file or directory; /b: No such file or directory";
        assert_eq!(without_os_codes(&text), expected);
        for kept in [
            "",
            "no error",
            "(os error 2)",
            "a (os error x)",
            "a (os error ",
            "a (os error 2",
        ] {
            assert_eq!(without_os_codes(kept), kept);
        }
    }
}
