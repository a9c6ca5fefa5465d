//! JSON that Go programs read too, read by the rules of Go's `encoding/json` (decision 38), and
//! limits on its size and depth.
//!
//! - Keys match by [`keys_match`], and the last of several matching keys wins, except that null
//!   leaves an earlier value in place. Go would merge objects at repeated keys; [`Object`] does not.
//! - Text is decoded by [`decode`].
//! - [`strings_at`] finds every occurrence of a key, for decisions about what a plugin may execute.

mod keys;
mod limits;
mod object;
mod path;
mod scan;
mod text;

pub use keys::{fold_key, keys_match};
pub use limits::{
    LimitError, MAX_CONFIG, MAX_DEPTH, MAX_RESULT, MAX_RESULT_VALUES, check_limits, check_result,
    count_entries, count_values,
};
pub(crate) use object::last_value;
pub use object::{Object, ObjectError, RawMap, parse_object};
pub use path::{PathStep, ValuePath};
pub use scan::strings_at;
pub use text::decode;
