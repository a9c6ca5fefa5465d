//! The order and pace of retries. Only one of the failed writes is retried at a time, so that an
//! overloaded API server gets one request instead of one for each pod.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::Backoff;

/// The longest pause before a retry.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The shortest pause before a retry, even if another write has just succeeded.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) struct Retries {
    pace: Mutex<Pace>,
    succeeded: Notify,
}

#[derive(Debug)]
struct Pace {
    backoff: Backoff,
    /// Whether the last retry succeeded, so that the next one need not wait.
    last_succeeded: bool,
}

/// The permission to retry a write. The other failed writes wait until the guard is dropped.
#[derive(Debug)]
pub(super) struct RetryGuard<'a>(MutexGuard<'a, Pace>);

impl Default for Retries {
    fn default() -> Self {
        Self {
            pace: Mutex::new(Pace {
                backoff: Backoff::up_to(LONGEST_PAUSE),
                last_succeeded: false,
            }),
            succeeded: Notify::new(),
        }
    }
}

impl Retries {
    /// Waits until it is the turn of this failed write, and then for the pause before the retry.
    /// `previous` is the guard of the retry that has just failed, and `retry_after` is the shortest
    /// pause that the API server asks for.
    pub(super) async fn next<'a>(
        &'a self,
        previous: Option<RetryGuard<'a>>,
        retry_after: Duration,
    ) -> RetryGuard<'a> {
        if let Some(RetryGuard(mut pace)) = previous {
            pace.last_succeeded = false;
        }
        let mut pace = self.pace.lock().await;
        if std::mem::take(&mut pace.last_succeeded) && retry_after.is_zero() {
            return RetryGuard(pace);
        }
        let mut succeeded = pin!(self.succeeded.notified());
        succeeded.as_mut().enable();
        let now = Instant::now();
        let retry_time = now + pace.backoff.next(retry_after);
        sleep(SHORTEST_PAUSE).await;
        tokio::select! {
            () = sleep_until(retry_time) => {}
            // Another write has succeeded, so the API server works again.
            () = async { succeeded.await; sleep_until(now + retry_after).await } => {}
        }
        RetryGuard(pace)
    }

    /// Records that the API server has answered a write, and ends the pauses of the others.
    pub(super) fn succeeded(&self, guard: Option<RetryGuard<'_>>) {
        if let Some(RetryGuard(mut pace)) = guard {
            pace.last_succeeded = true;
            pace.backoff.reset();
        }
        self.succeeded.notify_waiters();
    }
}
