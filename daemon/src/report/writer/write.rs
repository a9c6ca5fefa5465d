//! A write that goes on by itself, as its owner sees it.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// How far a write is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is being sent.
    Begun,
    /// It waits for the mirror of its static pod.
    NoMirror,
    /// The latest try failed.
    Failed(String),
    /// Nothing is left to do.
    Done,
}

/// Why a write is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotYet {
    /// There is no answer yet.
    #[error("no answer from the API server within {0:?}")]
    Slow(Duration),
    /// The API server has no mirror of the static pod.
    #[error("the API server has no mirror of this static pod yet")]
    NoMirror,
    /// The latest try failed.
    #[error("{0}")]
    Failed(String),
}

/// A write that was begun. Dropping it gives it up.
pub(crate) struct Write {
    progress: watch::Receiver<Progress>,
    on_drop: Option<Box<dyn FnOnce() + Send + Sync>>,
}

/// The other end.
pub(super) struct Teller(watch::Sender<Progress>);

impl Teller {
    pub(super) fn tell(&self, progress: Progress) {
        self.0.send_replace(progress);
    }
}

impl Write {
    /// A write that goes on elsewhere.
    pub(super) fn begun(on_drop: impl FnOnce() + Send + Sync + 'static) -> (Self, Teller) {
        let (teller, progress) = watch::channel(Progress::Begun);
        (
            Self {
                progress,
                on_drop: Some(Box::new(on_drop)),
            },
            Teller(teller),
        )
    }

    /// A write that was tried once and is not tried again.
    pub(crate) fn finished(outcome: Result<(), String>) -> Self {
        let progress = outcome.map_or_else(Progress::Failed, |()| Progress::Done);
        Self {
            progress: watch::channel(progress).1,
            on_drop: None,
        }
    }

    /// Waits until nothing is left to do, for `limit` at most. The first try that fails ends the waiting, unless it is
    /// `required` that the write lands.
    ///
    /// # Errors
    /// It is not done; where that may still change, [`Write::done`] tells.
    pub(crate) async fn done_within(
        &mut self,
        limit: Duration,
        required: bool,
    ) -> Result<(), NotYet> {
        let ends = |progress: &Progress| match progress {
            Progress::Begun => false,
            Progress::Failed(_) => !required,
            Progress::NoMirror | Progress::Done => true,
        };
        // Both the limit and a sender that is gone leave the latest progress to be looked at.
        let _ = timeout(limit, self.progress.wait_for(ends)).await;
        match &*self.progress.borrow() {
            Progress::Begun => Err(NotYet::Slow(limit)),
            Progress::NoMirror => Err(NotYet::NoMirror),
            Progress::Failed(why) => Err(NotYet::Failed(why.clone())),
            Progress::Done => Ok(()),
        }
    }

    /// Waits until nothing is left to do, however long that takes; `false` where it will not be done.
    pub(crate) async fn done(&mut self) -> bool {
        self.progress
            .wait_for(|progress| *progress == Progress::Done)
            .await
            .is_ok()
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write")
            .field("progress", &*self.progress.borrow())
            .finish_non_exhaustive()
    }
}
