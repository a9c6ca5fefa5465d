//! Exponential backoff with jitter.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

const INITIAL: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// The pause before the next retry: `first`, doubled `doublings` times, at most `longest`.
pub(crate) fn doubled(first: Duration, doublings: u32, longest: Duration) -> Duration {
    first.saturating_mul(1 << doublings.min(20)).min(longest)
}

/// The pauses between retries. Jitter keeps the nodes of a cluster from reconnecting to a restarted
/// API server at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    longest: Duration,
    doublings: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(LONGEST)
    }
}

impl Backoff {
    /// Pauses of at most `longest`.
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self {
            longest,
            doublings: 0,
        }
    }

    /// The next pause: `at_least`, plus between half and all of the exponential pause.
    pub(crate) fn next(&mut self, at_least: Duration) -> Duration {
        let longest = doubled(INITIAL, self.doublings, self.longest);
        self.doublings = self.doublings.saturating_add(1);
        at_least + longest / 2 + (longest / 2).mul_f64(random())
    }

    /// Starts over with a short pause, after a success.
    pub(crate) fn reset(&mut self) {
        self.doublings = 0;
    }
}

/// A random number from 0 to 1. The standard library's hash keys are random enough for jitter.
pub(crate) fn random() -> f64 {
    f64::from(u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default())
        / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_have_jitter() {
        let mut backoff = Backoff::default();
        let mut longest = INITIAL;
        for _ in 0..100 {
            let pause = backoff.next(Duration::ZERO);
            assert!(
                pause >= longest / 2 && pause <= longest,
                "{pause:?} of {longest:?}"
            );
            longest = (longest * 2).min(LONGEST);
        }
        assert_eq!(longest, LONGEST);
        backoff.reset();
        assert!(backoff.next(Duration::ZERO) <= INITIAL);
        assert!(
            backoff.next(Duration::from_secs(7)) >= Duration::from_secs(7),
            "the pause that the server asks for"
        );
        assert!((0..20).any(|_| random() < 0.5) && (0..20).any(|_| random() > 0.5));
    }
}
