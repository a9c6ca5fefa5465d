//! The ways to replace plexusd, and the duration of calls during each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How plexusd is being replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// plexusd is not being replaced.
    Quiet,
    /// `maxSurge: 1`: the new daemon starts, and the old one is stopped when the new one is ready.
    Surge,
    /// `maxUnavailable: 1`: the old daemon is stopped, and the new one starts after a pause.
    Gap,
    /// The old daemon is killed, as by the OOM killer, and the new one starts.
    Killed,
    /// The new daemon is killed soon after it took over, and the old one serves again.
    KilledAfterTakeover,
    /// Two new daemons start at the same time. The one that does not serve and the old one are
    /// stopped.
    Race,
}

impl Phase {
    /// Whether a failed call in this phase may succeed only after a retry of the runtime.
    pub fn allows_failure(self, operation: &str) -> bool {
        match self {
            // A call that a killed daemon has begun is not repeated.
            Self::Killed | Self::KilledAfterTakeover => true,
            // The shim spools a DEL after two seconds.
            Self::Gap => operation == "DEL",
            Self::Surge | Self::Race | Self::Quiet => false,
        }
    }
}

/// The phases so far and the longest call in each.
#[derive(Debug, Default)]
pub struct CallTimes(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    /// Each phase with its end. The last one has not ended.
    phases: Vec<(Phase, Option<Instant>)>,
    longest: BTreeMap<(Phase, String), Duration>,
}

impl CallTimes {
    /// Begins a phase.
    pub fn enter(&self, phase: Phase) {
        let mut times = self.lock();
        if let Some((_, end)) = times.phases.last_mut() {
            *end = Some(Instant::now());
        }
        times.phases.push((phase, None));
    }

    /// Records the end of a call. Returns the phases during the call.
    pub fn record(&self, operation: &str, start: Instant) -> Vec<Phase> {
        let duration = start.elapsed();
        let mut times = self.lock();
        let phases: Vec<_> = times
            .phases
            .iter()
            .filter(|(_, end)| end.is_none_or(|end| end >= start))
            .map(|(phase, _)| *phase)
            .collect();
        // The first replacement during the call has delayed it.
        let cause = phases
            .iter()
            .find(|phase| **phase != Phase::Quiet)
            .unwrap_or(&Phase::Quiet);
        let key = (*cause, operation.to_owned());
        let longest = times.longest.entry(key).or_default();
        *longest = duration.max(*longest);
        phases
    }

    /// The longest call of an operation in a phase.
    pub fn longest(&self, phase: Phase, operation: &str) -> Duration {
        let key = (phase, operation.to_owned());
        self.lock().longest.get(&key).copied().unwrap_or_default()
    }

    /// All of them as text.
    pub fn report(&self) -> String {
        let mut report = String::new();
        for ((phase, operation), longest) in &self.lock().longest {
            let _ = writeln!(
                report,
                "longest {operation} during {phase:?}: {longest:.1?}"
            );
        }
        report
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.0.lock().expect("lock is not poisoned")
    }
}
