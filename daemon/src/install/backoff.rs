//! How often something is put back that others take away.

use std::time::Duration;

use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_mins(1);
/// After this time without another one, it begins anew.
const QUIET: Duration = Duration::from_mins(10);

/// The first is at once, and each pause twice as long as the one before.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    count: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// Whether it is time for the next one, which is counted then; else when it is.
    pub fn next(&mut self, now: Instant) -> Result<u32, Instant> {
        if let Some(last) = self.last {
            let pause = FIRST_PAUSE.saturating_mul(1 << (self.count.saturating_sub(1)).min(20)).min(LAST_PAUSE);
            if now < last + pause {
                return Err(last + pause);
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
    pub fn row(&self, now: Instant) -> Option<(u32, Instant)> {
        let quiet = self.last? + QUIET;
        (now < quiet).then_some((self.count, quiet))
    }
}
