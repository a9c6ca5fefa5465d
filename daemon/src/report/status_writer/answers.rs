//! The answers of the API server to writes, and the writes that became overdue since the latest
//! one. An answer to any write shows that the API server works: a write that stays overdue after
//! that is a matter of its pod, not of the node (decision 39).

use std::sync::Mutex;

use crate::mutex::lock;

#[derive(Debug, Default)]
pub(super) struct Answers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of answers.
    answered: u64,
    /// The number of writes that became overdue since the latest answer, and still are.
    overdue: usize,
}

impl Answers {
    /// The number of answers so far.
    pub(super) fn count(&self) -> u64 {
        lock(&self.0).answered
    }

    /// Records an answer to any write.
    pub(super) fn record(&self) {
        let mut state = lock(&self.0);
        state.answered += 1;
        state.overdue = 0;
    }

    pub(super) fn has_overdue(&self) -> bool {
        lock(&self.0).overdue > 0
    }

    /// Counts a write as overdue until the next answer, or until the guard is dropped.
    pub(super) fn overdue(&self) -> OverdueGuard<'_> {
        let mut state = lock(&self.0);
        state.overdue += 1;
        OverdueGuard {
            answers: self,
            since: state.answered,
        }
    }
}

#[derive(Debug)]
pub(super) struct OverdueGuard<'a> {
    answers: &'a Answers,
    /// [`State::answered`] when the write became overdue.
    since: u64,
}

impl Drop for OverdueGuard<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.answers.0);
        if state.answered == self.since {
            state.overdue -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_overdue_until_it_ends_or_another_write_is_answered() {
        let answers = Answers::default();
        let (first, second) = (answers.overdue(), answers.overdue());
        drop(first);
        assert!(answers.has_overdue());
        answers.record();
        assert!(!answers.has_overdue());
        let third = answers.overdue();
        drop(second);
        assert!(answers.has_overdue(), "the second no longer counted");
        drop(third);
        assert!(!answers.has_overdue());
        assert_eq!(answers.count(), 1);
    }
}
