//! Limits on the size and the depth of JSON. `serde_json` copies raw values unparsed, so their depth
//! has to be checked here.

/// The largest plugin configuration that is accepted, in bytes.
pub const MAX_CONFIG: usize = 2 << 20;
/// The largest plugin result that is accepted, in bytes (T-012).
pub const MAX_RESULT: usize = 4 << 20;
/// The deepest nesting of objects and arrays that is accepted. Lower than `serde_json`'s own limit
/// of 128, so JSON within this limit can always be parsed into a tree.
pub const MAX_DEPTH: usize = 100;

/// JSON that is too large to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Longer than this many bytes. The actual length may be unknown: readers stop at the limit.
    #[error("the JSON has more than {0} bytes")]
    Length(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the JSON is nested deeper than {MAX_DEPTH} levels")]
    Depth,
}

/// Checks that `text` has at most `max_len` bytes and [`MAX_DEPTH`] levels. The text need not be
/// valid JSON.
///
/// # Errors
/// The limit that is exceeded.
pub fn check_limits(text: &[u8], max_len: usize) -> Result<(), LimitError> {
    if text.len() > max_len {
        return Err(LimitError::Length(max_len));
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
                    return Err(LimitError::Depth);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
