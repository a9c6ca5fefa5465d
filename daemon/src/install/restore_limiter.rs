//! Rate limit for restoring a file that another program keeps removing or changing.

use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::doubled;

const FIRST_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_mins(1);
/// The time without a restoration after which the count is reset.
const QUIET_TIME: Duration = Duration::from_mins(10);

/// Permits the first restoration immediately, and doubles the delay before each further one.
#[derive(Debug, Default)]
pub(super) struct RestoreLimiter {
    count: u32,
    last: Option<Instant>,
}

impl RestoreLimiter {
    /// Permits and counts a restoration.
    ///
    /// # Errors
    /// The earliest time of the next restoration, if the delay has not passed.
    pub(super) fn acquire(&mut self, now: Instant) -> Result<(), Instant> {
        if let Some(last) = self.last {
            let next = last + doubled(FIRST_DELAY, self.count.saturating_sub(1), MAX_DELAY);
            if now < next {
                return Err(next);
            }
            if now >= last + QUIET_TIME {
                self.count = 0;
            }
        }
        self.last = Some(now);
        self.count += 1;
        Ok(())
    }

    /// The number of recent restorations, and the time at which the count is reset. Returns `None`
    /// if there was no recent restoration.
    pub(super) fn recent(&self, now: Instant) -> Option<(u32, Instant)> {
        let end = self.last? + QUIET_TIME;
        (now < end).then_some((self.count, end))
    }
}
