//! The pauses between the retries of interrupted changes of running pods. A later plexusd starts
//! without them, and retries once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::LONGEST_PAUSE;
use crate::backoff::doubled;
use crate::ledger::RecordKey;
use crate::mutex::lock;

/// The failed retries of each record. Clones share them.
#[derive(Debug, Default, Clone)]
pub(super) struct ChangeRetries {
    failures: Arc<Mutex<BTreeMap<RecordKey, Failures>>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl ChangeRetries {
    /// Whether the pause after the last failure is over. The pause doubles with each failure.
    pub(super) fn is_due(&self, key: &RecordKey, first_pause: Duration, now: Instant) -> bool {
        lock(&self.failures).get(key).is_none_or(|failures| {
            let pause = doubled(first_pause, failures.count - 1, LONGEST_PAUSE);
            now.saturating_duration_since(failures.last) >= pause
        })
    }

    pub(super) fn record(&self, key: RecordKey, succeeded: bool, now: Instant) {
        let mut failures = lock(&self.failures);
        if succeeded {
            failures.remove(&key);
            return;
        }
        let count = failures.get(&key).map_or(0, |failures| failures.count);
        failures.insert(
            key,
            Failures {
                count: count.saturating_add(1),
                last: now,
            },
        );
    }

    /// Forgets the records without an interrupted change.
    pub(super) fn retain(&self, interrupted: &BTreeSet<&RecordKey>) {
        lock(&self.failures).retain(|key, _| interrupted.contains(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_with_each_failure_until_the_change_is_finished() {
        let retries = ChangeRetries::default();
        let (key, pause) = (RecordKey::new("c1", "eth0"), Duration::from_secs(30));
        let start = Instant::now();
        assert!(retries.is_due(&key, pause, start));
        for (failures, pauses) in [(1, 1), (1, 2), (1, 4), (20, 20)] {
            for _ in 0..failures {
                retries.record(key.clone(), false, start);
            }
            let due = start + pause * pauses;
            let before = due.checked_sub(Duration::from_millis(1)).expect("a time");
            assert!(!retries.is_due(&key, pause, before), "{pauses}");
            assert!(retries.is_due(&key, pause, due), "{pauses}");
        }
        retries.record(key.clone(), true, start);
        assert!(retries.is_due(&key, pause, start));
    }

    #[test]
    fn records_without_an_interrupted_change_are_forgotten() {
        let retries = ChangeRetries::default();
        let (key, pause) = (RecordKey::new("c1", "eth0"), Duration::from_secs(30));
        let start = Instant::now();
        retries.record(key.clone(), false, start);
        retries.retain(&BTreeSet::from([&key]));
        assert!(!retries.is_due(&key, pause, start));
        retries.retain(&BTreeSet::new());
        assert!(retries.is_due(&key, pause, start));
    }
}
