//! Limits for JSON that others wrote: its size, and its depth, which raw values do not check themselves.

use crate::cni::{CniError, Code};

/// The largest plugin configuration that is accepted, in bytes.
pub const MAX_CONFIG: usize = 2 << 20;
/// The largest plugin result that is accepted, in bytes (T-012).
pub const MAX_RESULT: usize = 4 << 20;
/// The deepest nesting of objects and arrays that is accepted. Below `serde_json`'s own limit of 128, so that what
/// passes here can be parsed into a tree.
pub const MAX_DEPTH: usize = 100;

/// Refuses text that is longer than `max_len` bytes or nested deeper than [`MAX_DEPTH`]; it need not be JSON.
///
/// # Errors
/// [`Code::Decode`], with the limit in the message.
pub fn check_limits(text: &[u8], max_len: usize) -> Result<(), CniError> {
    if text.len() > max_len {
        // How long it is may not be known: who reads stops when it is too much.
        let msg = format!("the JSON has more than the {max_len} bytes that are accepted");
        return Err(CniError::new(Code::Decode, msg));
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    let msg = format!(
                        "JSON is nested deeper than the {MAX_DEPTH} levels that are accepted"
                    );
                    return Err(CniError::new(Code::Decode, msg));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        let deep = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert!(check_limits(deep.as_bytes(), MAX_CONFIG).is_ok());
        assert!(check_limits(format!("[{deep}]").as_bytes(), MAX_CONFIG).is_err());
        let text = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(MAX_DEPTH * 2));
        assert!(check_limits(text.as_bytes(), MAX_CONFIG).is_ok());
        let wide = "[[],[]".to_owned() + &",[]".repeat(MAX_DEPTH * 2) + "]";
        assert!(check_limits(wide.as_bytes(), MAX_CONFIG).is_ok());
    }

    #[test]
    fn size_is_limited() {
        assert!(check_limits(b"123", 3).is_ok());
        let error = check_limits(b"1234", 3).expect_err("too long");
        assert_eq!(error.code, 6);
        assert!(error.msg.contains("3 bytes"), "{error}");
    }
}
