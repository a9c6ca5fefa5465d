//! The ways in which one plexusd follows another, and how long calls take meanwhile.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is being done to plexusd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing.
    Quiet,
    /// `maxSurge: 1`: the new one starts beside the old one, which is stopped when the new one is ready.
    Surge,
    /// `maxUnavailable: 1`: the old one is stopped, and after a pause the new one starts.
    Gap,
    /// The old one is killed, as for want of memory, and the new one starts.
    Killed,
    /// The new one dies when it takes over or soon after, and the old one serves again.
    KilledAfterTakeover,
    /// Two new ones start at the same time; the one that does not serve and the old one are stopped.
    Race,
}

/// How long calls took, by what was done meanwhile.
#[derive(Debug, Default)]
pub struct Clock(Mutex<Times>);

#[derive(Debug, Default)]
struct Times {
    /// What was done, and until when; the last is going on.
    phases: Vec<(Phase, Option<Instant>)>,
    longest: BTreeMap<(Phase, String), Duration>,
}

impl Clock {
    /// From now on `phase` is what is being done.
    pub fn enter(&self, phase: Phase) {
        let mut times = self.0.lock().expect("nobody panics with it");
        if let Some((_, end)) = times.phases.last_mut() {
            *end = Some(Instant::now());
        }
        times.phases.push((phase, None));
    }

    /// A call that began at `start` has ended: what was done meanwhile.
    pub fn end(&self, verb: &str, start: Instant) -> Vec<Phase> {
        let took = start.elapsed();
        let mut times = self.0.lock().expect("nobody panics with it");
        let during = times
            .phases
            .iter()
            .filter(|(_, end)| end.is_none_or(|end| end >= start));
        let during: Vec<_> = during.map(|(phase, _)| *phase).collect();
        // What was begun first has kept it waiting.
        let cause = during
            .iter()
            .find(|phase| **phase != Phase::Quiet)
            .unwrap_or(&Phase::Quiet);
        let longest = times.longest.entry((*cause, verb.to_owned())).or_default();
        *longest = took.max(*longest);
        during
    }

    /// The longest of a verb while that was done.
    pub fn longest(&self, phase: Phase, verb: &str) -> Duration {
        let times = self.0.lock().expect("nobody panics with it");
        times
            .longest
            .get(&(phase, verb.to_owned()))
            .copied()
            .unwrap_or_default()
    }

    /// All of it, for people.
    pub fn report(&self) -> String {
        let times = self.0.lock().expect("nobody panics with it");
        times
            .longest
            .iter()
            .fold(String::new(), |mut text, ((phase, verb), longest)| {
                let _ = writeln!(text, "longest {verb} during {phase:?}: {longest:.1?}");
                text
            })
    }
}
