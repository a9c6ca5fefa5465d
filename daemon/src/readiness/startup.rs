//! The steps from the bind of the socket to the first call, for the probes.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::ledger::{Ledger, LockStep};
use crate::mutex::lock;
use crate::problem::Problem;

/// The remedy if the ledger cannot be used.
pub(crate) const REPAIR_STATE_DIR: &str =
    "repair the state directory (stateDir); plexusd tries again";

/// The current step. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Startup(Arc<Mutex<Step>>);

#[derive(Debug, Clone, Default)]
enum Step {
    #[default]
    Begun,
    /// Another daemon has held the ledger since this time.
    WaitingForLedger(Instant),
    /// This many records are read.
    Reading(usize),
    /// Plugins of an earlier daemon may still run.
    WaitingForPlugins,
    /// The ledger cannot be used. The text is the reason.
    Failing(String),
}

impl Startup {
    pub(crate) fn reaches(&self, step: LockStep) {
        *lock(&self.0) = match step {
            LockStep::Waiting => Step::WaitingForLedger(Instant::now()),
            LockStep::Reading(records) => Step::Reading(records),
        };
    }

    pub(crate) fn waits_for_plugins(&self) {
        *lock(&self.0) = Step::WaitingForPlugins;
    }

    pub(crate) fn fails(&self, reason: String) {
        *lock(&self.0) = Step::Failing(reason);
    }

    /// Whether another daemon keeps the ledger. If it hangs, one of both must be restarted.
    pub(crate) fn is_waiting_for_ledger(&self) -> bool {
        matches!(*lock(&self.0), Step::WaitingForLedger(_))
    }

    /// The reason why no call is served yet, with the remedy. Blocking.
    pub(crate) fn problem(&self, state_dir: &Path) -> Problem {
        let remedy = match *lock(&self.0) {
            Step::Begun | Step::Reading(_) | Step::WaitingForPlugins => {
                "wait until the start is complete"
            }
            Step::WaitingForLedger(_) => {
                "wait until the calls of the other plexusd have ended; if it hangs, stop it"
            }
            Step::Failing(_) => REPAIR_STATE_DIR,
        };
        Problem::new(self.text(state_dir), remedy)
    }

    /// The reason why no call is served yet. Blocking.
    pub(crate) fn text(&self, state_dir: &Path) -> String {
        let step = lock(&self.0).clone();
        match step {
            Step::Begun => "starting".to_owned(),
            Step::WaitingForLedger(since) => Ledger::waiting_text(state_dir, since.elapsed()),
            Step::Reading(records) => format!("starting: reading {} records", grouped(records)),
            Step::WaitingForPlugins => {
                "starting: waiting for plugins that an earlier plexusd left running".to_owned()
            }
            Step::Failing(reason) => reason,
        }
    }
}

/// The number with a comma between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_text() {
        let dir = Path::new("/missing");
        let startup = Startup::default();
        assert_eq!(startup.text(dir), "starting");
        for (records, text) in [(7, "7"), (999, "999"), (1000, "1,000"), (10_000, "10,000")] {
            startup.reaches(LockStep::Reading(records));
            assert_eq!(
                startup.text(dir),
                format!("starting: reading {text} records")
            );
            assert!(!startup.is_waiting_for_ledger());
        }
        startup.reaches(LockStep::Waiting);
        assert_eq!(
            startup.text(dir),
            "waiting for the previous plexusd to hand over"
        );
        assert!(startup.is_waiting_for_ledger());
    }
}
