//! The handle of a write that continues in the background.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;

/// The state of a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", content = "error", rename_all = "camelCase")]
pub(crate) enum WriteState {
    /// The first attempt has no answer yet.
    Sending,
    /// The API server has no mirror of the static pod yet.
    WaitingForMirror,
    /// The latest attempt failed.
    Failed(String),
    /// The API server refused the latest attempt.
    Refused(String),
    /// The status is written, or no longer needed.
    Done,
}

/// Why a status is not written yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StatusWriteError {
    #[error("no answer from the API server within {0:?}")]
    Timeout(Duration),
    #[error("the API server has no mirror of this static pod yet")]
    NoMirror,
    /// The latest attempt failed.
    #[error("{0}")]
    Failed(String),
}

/// A write of network-status. Dropping it cancels the write.
pub(crate) struct StatusWrite {
    state: watch::Receiver<WriteState>,
    on_drop: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl StatusWrite {
    /// A write that runs in the background and reports its `state`.
    pub(super) fn started(
        state: watch::Receiver<WriteState>,
        on_drop: impl FnOnce() + Send + Sync + 'static,
    ) -> Self {
        Self {
            state,
            on_drop: Some(Box::new(on_drop)),
        }
    }

    /// A write that is not retried.
    pub(in crate::report) fn finished(result: Result<(), String>) -> Self {
        let state = result.map_or_else(WriteState::Failed, |()| WriteState::Done);
        Self {
            state: watch::channel(state).1,
            on_drop: None,
        }
    }

    /// Waits at most `limit` until the write is done. A refusal ends the wait, and a failed attempt
    /// ends it unless the write is `required`.
    ///
    /// # Errors
    /// The write is not done yet. [`StatusWrite::done`] waits for the end.
    pub(crate) async fn done_within(
        &mut self,
        limit: Duration,
        required: bool,
    ) -> Result<(), StatusWriteError> {
        let ends_wait = |state: &WriteState| match state {
            WriteState::Sending => false,
            WriteState::Failed(_) => !required,
            WriteState::WaitingForMirror | WriteState::Refused(_) | WriteState::Done => true,
        };
        // After a timeout, or if the sender was dropped, the latest state counts.
        let _ = timeout(limit, self.state.wait_for(ends_wait)).await;
        match &*self.state.borrow() {
            WriteState::Sending => Err(StatusWriteError::Timeout(limit)),
            WriteState::WaitingForMirror => Err(StatusWriteError::NoMirror),
            WriteState::Failed(reason) | WriteState::Refused(reason) => {
                Err(StatusWriteError::Failed(reason.clone()))
            }
            WriteState::Done => Ok(()),
        }
    }

    /// Waits until the write is done. Returns `false` if the write was cancelled before.
    pub(crate) async fn done(&mut self) -> bool {
        self.state
            .wait_for(|state| *state == WriteState::Done)
            .await
            .is_ok()
    }
}

impl Drop for StatusWrite {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

impl fmt::Debug for StatusWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusWrite")
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}
