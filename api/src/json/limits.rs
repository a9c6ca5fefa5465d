//! Limits on the size and the depth of JSON. `serde_json` copies raw values unparsed, so their depth
//! has to be checked here.

/// The largest plugin configuration that is accepted, in bytes.
pub const MAX_CONFIG: usize = 2 << 20;
/// The largest plugin result that is accepted, in bytes (T-012), and the largest sum of the results
/// of a pod.
pub const MAX_RESULT: usize = 1 << 20;
/// The largest number of values in a plugin result, and in the results of a pod in sum. A parsed
/// value takes far more memory than its text.
pub const MAX_RESULT_VALUES: usize = 16 << 10;
/// The deepest nesting of objects and arrays that is accepted. Lower than `serde_json`'s own limit
/// of 128, so JSON within this limit can always be parsed into a tree.
pub const MAX_DEPTH: usize = 100;

/// JSON that is too large to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Longer than this many bytes. The actual length may be unknown: readers stop at the limit.
    #[error("the JSON has more than {0} bytes")]
    Length(usize),
    /// More than this many values: elements of lists and values of keys, at any depth.
    #[error("the JSON has more than {0} values")]
    Values(usize),
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
    let mut depth = 0_usize;
    for byte in outside_strings(text) {
        match byte {
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

/// Checks that the output of a plugin is within [`check_limits`] and [`MAX_RESULT_VALUES`].
///
/// # Errors
/// The limit that is exceeded.
pub fn check_result(text: &[u8]) -> Result<(), LimitError> {
    check_limits(text, MAX_RESULT)?;
    if count_values(text) > MAX_RESULT_VALUES {
        return Err(LimitError::Values(MAX_RESULT_VALUES));
    }
    Ok(())
}

/// The number of values at any depth, at least: each follows a bracket or a comma. The text need not
/// be valid JSON.
pub fn count_values(text: &[u8]) -> usize {
    outside_strings(text)
        .filter(|byte| matches!(byte, b'{' | b'[' | b','))
        .count()
}

/// The number of elements of a list, or of keys of an object, which is not parsed. Any other value,
/// and an empty list or object, counts as one. The text need not be valid JSON.
pub fn count_entries(text: &str) -> usize {
    let (mut depth, mut count) = (0_usize, 1);
    for byte in outside_strings(text.as_bytes()) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 1 => count += 1,
            _ => {}
        }
    }
    count
}

/// The bytes of `text` that are not part of a string.
fn outside_strings(text: &[u8]) -> impl Iterator<Item = u8> {
    let (mut in_string, mut escaped) = (false, false);
    text.iter().copied().filter(move |byte| {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            return false;
        }
        in_string = *byte == b'"';
        !in_string
    })
}

#[cfg(test)]
mod tests;
