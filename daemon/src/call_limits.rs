//! The limits of a call: how long it waits for something that other calls hold.

use std::fmt;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How many holders an error names. Others are only counted.
const MAX_HOLDERS: usize = 5;
/// Longer than any process runs, and short enough to be added to the current time.
const FOREVER: Duration = Duration::from_hours(100_000);

/// The name of a call, and the events that end its waits. Locks, permits and plugin runs of the
/// call share these limits.
#[derive(Debug, Clone)]
pub(crate) struct CallLimits {
    /// Names the call in the errors of other calls that wait for it.
    pub(crate) call: String,
    /// The end of the time for the whole call, waits included.
    pub(crate) deadline: Instant,
    /// Cancelled when nobody needs the result of the call any more.
    pub(crate) cancel: CancellationToken,
}

/// What a call waits for, and the calls that hold it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resource {
    name: String,
    holders: Vec<String>,
}

/// A wait that ended without the resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WaitError {
    #[error("timed out waiting for {0}; retry later")]
    TimedOut(Resource),
    #[error("the caller disconnected while the call was waiting for {0}")]
    Cancelled(Resource),
}

impl CallLimits {
    /// The limits of a call that has `time` from `start`.
    pub(crate) fn new(
        call: impl Into<String>,
        start: Instant,
        time: Duration,
        cancel: CancellationToken,
    ) -> Self {
        let deadline = start.checked_add(time).unwrap_or(start + FOREVER);
        Self {
            call: call.into(),
            deadline,
            cancel,
        }
    }

    /// The limits of background work, which waits until `cancel` is cancelled. It must hold nothing
    /// while it waits.
    pub(crate) fn background(call: impl Into<String>, cancel: CancellationToken) -> Self {
        Self::new(call, Instant::now(), FOREVER, cancel)
    }

    /// The same limits for a part of the call that may take `time` from now.
    pub(crate) fn within(&self, time: Duration) -> Self {
        let part = Self::new(self.call.clone(), Instant::now(), time, self.cancel.clone());
        Self {
            deadline: part.deadline.min(self.deadline),
            ..part
        }
    }

    /// The time that is left.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Waits for `acquire`, which must be safe to drop. `resource` describes what it acquires.
    ///
    /// # Errors
    /// The limits ended the wait.
    pub(crate) async fn wait<T>(
        &self,
        acquire: impl Future<Output = T>,
        resource: impl Fn() -> Resource,
    ) -> Result<T, WaitError> {
        let mut acquire = pin!(acquire);
        if let Poll::Ready(acquired) = poll!(&mut acquire) {
            return Ok(acquired);
        }
        let held = resource();
        if !held.holders.is_empty() {
            tracing::debug!(call = self.call, "waiting for {held}");
        }
        tokio::select! {
            biased;
            acquired = acquire => Ok(acquired),
            () = self.cancel.cancelled() => Err(WaitError::Cancelled(resource())),
            () = sleep_until(self.deadline) => Err(WaitError::TimedOut(resource())),
        }
    }
}

impl Resource {
    /// A resource of the machine, which no call holds.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self::held(name, [])
    }

    pub(crate) fn held(name: impl Into<String>, holders: impl IntoIterator<Item = String>) -> Self {
        Self {
            name: name.into(),
            holders: holders.into_iter().collect(),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.holders.is_empty() {
            return Ok(());
        }
        let named = &self.holders[..self.holders.len().min(MAX_HOLDERS)];
        write!(f, ", held by {}", named.join(", "))?;
        match self.holders.len() - named.len() {
            0 => Ok(()),
            others => write!(f, " and {others} others"),
        }
    }
}

#[cfg(test)]
mod tests;
