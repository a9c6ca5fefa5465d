//! Label values that come from outside: a bounded number of them, so that nobody can make series without end.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::mutex::lock;

/// What all further values are called.
pub(super) const OTHER: &str = "other";

/// The values of one label.
#[derive(Debug)]
pub(super) struct Labels {
    limit: usize,
    seen: Mutex<BTreeSet<String>>,
}

impl Labels {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            seen: Mutex::default(),
        }
    }

    /// Calls `record` with the value, or with [`OTHER`] where there are too many before it.
    pub(super) fn bound(&self, value: &str, record: impl FnOnce(&str)) {
        record(if self.admits(value) { value } else { OTHER });
    }

    fn admits(&self, value: &str) -> bool {
        // A set of texts cannot be left half changed.
        let mut seen = lock(&self.seen);
        seen.contains(value) || (seen.len() < self.limit && seen.insert(value.to_owned()))
    }
}
