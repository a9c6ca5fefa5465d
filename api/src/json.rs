//! JSON from other programs: limits on size and depth, and objects parsed by Go's rules.

mod limits;
mod object;

pub use limits::{LimitError, MAX_CONFIG, MAX_DEPTH, MAX_RESULT, check_limits, count_entries};
pub use object::{Object, ObjectError, RawMap, keys_match, parse_object};
