//! Labels with a bounded number of values, for values that plugins or users choose. Without a
//! bound, the number of series could grow without limit.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::mutex::lock;

/// The value that replaces all values beyond the bound.
const OTHER: &str = "other";

/// The values of one label.
#[derive(Debug)]
pub(super) struct BoundedLabel {
    limit: usize,
    known: Mutex<BTreeSet<String>>,
}

impl BoundedLabel {
    /// A label with at most `limit` values besides [`OTHER`].
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            known: Mutex::default(),
        }
    }

    /// Calls `record` with `value`, or with [`OTHER`] if the limit is reached and the value is new.
    pub(super) fn record(&self, value: &str, record: impl FnOnce(&str)) {
        record(if self.admits(value) { value } else { OTHER });
    }

    fn admits(&self, value: &str) -> bool {
        let mut known = lock(&self.known);
        known.contains(value) || (known.len() < self.limit && known.insert(value.to_owned()))
    }
}
