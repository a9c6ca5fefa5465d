//! Suppression of repeated log lines: a condition is logged when it appears, not each time it is
//! found.

use std::collections::BTreeSet;

/// The texts of the previous round and of the current one. A loop that finds the same conditions in
/// every round logs only the new ones.
#[derive(Debug, Default)]
pub(crate) struct ChangeFilter {
    previous: BTreeSet<String>,
    current: BTreeSet<String>,
}

impl ChangeFilter {
    /// Records that the current round found `text`. Returns whether the text is new: missing in the
    /// previous round, and not yet recorded in this one.
    pub(crate) fn is_new(&mut self, text: impl Into<String>) -> bool {
        let text = text.into();
        let is_new = !self.previous.contains(&text);
        self.current.insert(text) && is_new
    }

    /// Ends the current round.
    pub(crate) fn end_round(&mut self) {
        self.previous = std::mem::take(&mut self.current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_a_text_once_until_a_round_does_not_find_it() {
        let mut filter = ChangeFilter::default();
        let mut round = |texts: &[&str]| {
            let new: Vec<_> = texts.iter().map(|text| filter.is_new(*text)).collect();
            filter.end_round();
            new
        };
        assert_eq!(round(&["a", "b", "a"]), [true, true, false]);
        assert_eq!(round(&["a"]), [false]);
        assert_eq!(round(&["a", "b"]), [false, true]);
        assert_eq!(round(&[]), [false; 0]);
        assert_eq!(round(&["a"]), [true]);
    }
}
