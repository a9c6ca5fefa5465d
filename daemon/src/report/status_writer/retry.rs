//! The order and pace of retries. If the API server fails, only one of the failed writes is retried
//! at a time, so that an overloaded server gets one request instead of one for each pod. A write
//! that the server refuses, or fails while it answers others, is retried at its own pace, which
//! slows down (decision 39).

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::{Instant, sleep, sleep_until};

use crate::backoff::{Backoff, random};

/// The longest pause before a retry.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The shortest pause before a retry, even if another write has just succeeded.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);

/// The longest pause before a retry of a write that fails because of its pod.
const LONGEST_POD_PAUSE: Duration = Duration::from_mins(10);
/// The time over which the retries are spread after one of these writes has succeeded.
const RECOVERY_SPREAD: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Retries {
    pace: Mutex<Pace>,
    succeeded: Notify,
    pod_recovered: Notify,
}

/// The retries of a write that fails because of its pod. They delay no other write.
#[derive(Debug)]
pub(super) struct PodRetries {
    backoff: Backoff,
    failures: u32,
}

impl Default for PodRetries {
    fn default() -> Self {
        Self {
            backoff: Backoff::up_to(LONGEST_POD_PAUSE),
            failures: 0,
        }
    }
}

impl PodRetries {
    /// The number of pauses so far.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Waits for the pause before the next retry, or until the same failure has ended for another
    /// pod: all of them may have had one cause, for example a missing right.
    pub(super) async fn pause(&mut self, retries: &Retries) {
        self.failures = self.failures.saturating_add(1);
        let recovered = async {
            retries.pod_recovered.notified().await;
            sleep(RECOVERY_SPREAD.mul_f64(random())).await;
        };
        tokio::select! {
            () = sleep(self.backoff.next(Duration::ZERO)) => {}
            () = recovered => {}
        }
    }
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
            pod_recovered: Notify::new(),
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

    /// Ends the pauses of [`PodRetries`].
    pub(super) fn pod_recovered(&self) {
        self.pod_recovered.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_for_one_pod_slow_down_to_one_in_ten_minutes() {
        let retries = Retries::default();
        let mut pod = PodRetries::default();
        let start = Instant::now();
        for _ in 0..3 {
            pod.pause(&retries).await;
        }
        assert!(start.elapsed() < Duration::from_secs(4), "a short failure");
        for _ in 0..20 {
            pod.pause(&retries).await;
        }
        let start = Instant::now();
        pod.pause(&retries).await;
        assert!(start.elapsed() >= LONGEST_POD_PAUSE / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_pauses_end_if_another_pod_recovers() {
        let retries = Retries::default();
        let mut pod = PodRetries::default();
        for _ in 0..20 {
            pod.pause(&retries).await;
        }
        let start = Instant::now();
        tokio::join!(pod.pause(&retries), async {
            sleep(Duration::from_secs(1)).await;
            retries.pod_recovered();
        });
        assert!(start.elapsed() <= Duration::from_secs(1) + RECOVERY_SPREAD);
    }
}
