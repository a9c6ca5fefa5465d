//! Problems that make a daemon not ready, reported where they are found.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long a result of STATUS counts. Runtimes that use STATUS issue it every few seconds.
const STATUS_AGE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// The state directory cannot be written, so ADD fails.
    StateDir,
    /// The port of metrics and probes is not open.
    MetricsPort,
    /// The last STATUS has failed because of a plugin of a default network.
    Plugins,
}

/// The current problems. Clones share their content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions(watch::Sender<BTreeMap<Condition, Problem>>);

#[derive(Debug, Clone)]
struct Problem {
    text: String,
    since: Instant,
}

impl Conditions {
    /// Sets the problem, one line with the next step, or clears it.
    pub(crate) fn set(&self, condition: Condition, problem: Option<String>) {
        self.0.send_if_modified(|problems| {
            let since = Instant::now();
            let old = match problem {
                None => problems.remove(&condition),
                Some(text) => {
                    let old = problems.remove(&condition);
                    problems.insert(condition, Problem { text, since });
                    old
                }
            };
            old.map(|old| old.text) != problems.get(&condition).map(|new| new.text.clone())
        });
    }

    /// The problems, one line each.
    pub(crate) fn problems(&self) -> Vec<(Condition, String)> {
        self.0
            .borrow()
            .iter()
            .filter(|(condition, problem)| {
                **condition != Condition::Plugins || problem.since.elapsed() < STATUS_AGE
            })
            .map(|(condition, problem)| (*condition, problem.text.clone()))
            .collect()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<impl Sized + use<>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscribers_are_notified_when_a_problem_appears_changes_or_is_gone() {
        let conditions = Conditions::default();
        let mut changes = conditions.subscribe();
        for (problem, is_changed) in [
            (None, false),
            (Some("full"), true),
            (Some("full"), false),
            (Some("read-only"), true),
            (None, true),
        ] {
            conditions.set(Condition::StateDir, problem.map(str::to_owned));
            let seen = changes.has_changed().expect("a sender");
            changes.mark_unchanged();
            assert_eq!(seen, is_changed, "{problem:?}");
            let found = conditions.problems().pop().map(|(_, text)| text);
            assert_eq!(found.as_deref(), problem);
        }
    }
}
