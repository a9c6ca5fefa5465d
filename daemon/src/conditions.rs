//! Problems that make a daemon not ready, reported where they are found.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::problem::Problem;

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

impl Condition {
    /// The name in the output of `plexusd status`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StateDir => "state_dir",
            Self::MetricsPort => "metrics_port",
            Self::Plugins => "plugins",
        }
    }
}

/// The current problems, each with the time since which it exists. Clones share their content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions(watch::Sender<BTreeMap<Condition, (Problem, Instant)>>);

impl Conditions {
    /// Sets the problem, or clears it.
    pub(crate) fn set(&self, condition: Condition, problem: Option<Problem>) {
        self.0.send_if_modified(|problems| {
            let old = problems.remove(&condition).map(|(old, _)| old);
            let is_changed = old != problem;
            problems.extend(problem.map(|new| (condition, (new, Instant::now()))));
            is_changed
        });
    }

    pub(crate) fn problems(&self) -> Vec<(Condition, Problem)> {
        self.0
            .borrow()
            .iter()
            .filter(|(condition, (_, since))| {
                **condition != Condition::Plugins || since.elapsed() < STATUS_AGE
            })
            .map(|(condition, (problem, _))| (*condition, problem.clone()))
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
            let problem = problem.map(|text| Problem::new(text, "free space"));
            conditions.set(Condition::StateDir, problem.clone());
            let seen = changes.has_changed().expect("a sender");
            changes.mark_unchanged();
            assert_eq!(seen, is_changed, "{problem:?}");
            let found = conditions.problems().pop().map(|(_, problem)| problem);
            assert_eq!(found, problem);
        }
    }
}
