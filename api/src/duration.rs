//! Durations in the notation of Kubernetes: `30s`, `500ms`, `1m30s`.

use std::time::Duration;

use crate::quote;

/// The longest duration that a key may have, except for the age of a file. Points in time at this
/// distance from now can always be computed.
pub const MAX: Duration = Duration::from_hours(24);

/// Text that is not a duration in the allowed range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is not a duration.
    #[error("{} is not a duration; use a form like \"30s\", \"500ms\" or \"1m30s\"", quote(.0))]
    Form(String),
    /// The duration is longer than this limit.
    #[error("{} is longer than the limit of {}h", quote(.0), .1.as_secs() / 3600)]
    TooLong(String, Duration),
}

/// Parses a duration of at most `max`.
///
/// # Errors
/// See [`DurationError`].
pub fn parse_up_to(text: &str, max: Duration) -> Result<Duration, DurationError> {
    match parse(text)? {
        duration if duration > max => Err(DurationError::TooLong(text.to_owned(), max)),
        duration => Ok(duration),
    }
}

/// Parses a sequence of whole numbers with units (`ms`, `s`, `m`, `h`); `0` needs no unit.
fn parse(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Form(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| invalid())?;
        let unit = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(unit);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(invalid()),
        };
        let part = Duration::from_millis(number.checked_mul(millis).ok_or_else(invalid)?);
        total = total.checked_add(part).ok_or_else(invalid)?;
        rest = tail;
    }
    if text.is_empty() {
        Err(invalid())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_limit() {
        assert_eq!(parse_up_to("24h", MAX), Ok(MAX));
        let many = "5124095576030h".repeat(501);
        for text in ["24h1ms", "86401s", "5124095576030h", &many] {
            let error = parse_up_to(text, MAX).expect_err(text).to_string();
            assert!(
                error.contains("limit of 24h") || error.contains("is not a duration"),
                "{error}"
            );
            assert!(error.len() < 300, "{error}");
        }
    }

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, millis) in [
            ("0", 0),
            ("30s", 30_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "1d",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.to_string().contains("30s"), "{error}");
        }
    }
}
