//! How often something is put back that others take away, and how often something is tried again that failed.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::doubled;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_mins(1);
/// After this time without another one, it begins anew.
const QUIET: Duration = Duration::from_mins(10);

/// How long to wait before something is tried again that has failed `count` times in a row before.
pub(super) fn pause(count: u32) -> Duration {
    doubled(FIRST_PAUSE, count, LAST_PAUSE)
}

/// The first is at once, and each pause twice as long as the one before.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    count: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// Whether it is time for the next one, which is counted then; else when it is.
    pub(super) fn next(&mut self, now: Instant) -> Result<u32, Instant> {
        if let Some(last) = self.last {
            let next = last + pause(self.count.saturating_sub(1));
            if now < next {
                return Err(next);
            }
            if now >= last + QUIET {
                self.count = 0;
            }
        }
        self.last = Some(now);
        self.count += 1;
        Ok(self.count)
    }

    /// How many there were in a row, and when that is over.
    pub(super) fn row(&self, now: Instant) -> Option<(u32, Instant)> {
        let quiet = self.last? + QUIET;
        (now < quiet).then_some((self.count, quiet))
    }
}
