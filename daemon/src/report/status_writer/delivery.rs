//! Sends the network-status of one sandbox, until the status is written or no longer needed.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::request::{patch_request, target_uid};
use super::write::WriteState;
use super::{PendingWrite, Shared};
use crate::cluster::kube::{ApiError, is_object_name};
use crate::model::PodRef;
use crate::report::events::{Event, EventReason, Subject};

/// The number of consecutive attempts if the API server reports a conflict (K-092).
const CONFLICT_ATTEMPTS: usize = 3;

pub(super) struct Delivery<'a> {
    pub(super) shared: &'a Shared,
    pub(super) write: &'a PendingWrite,
    pub(super) text: &'a str,
    pub(super) overdue_after: Duration,
    pub(super) state: &'a watch::Sender<WriteState>,
}

/// The outcome of sending a status for one UID.
enum Outcome {
    Written,
    /// The pod does not exist or has another UID, or the API server rejects the status.
    Rejected(ApiError),
    Cancelled,
}

impl Delivery<'_> {
    pub(super) async fn run(&self) {
        let pod = self.pod();
        if !is_object_name(&pod.namespace) || !is_object_name(&pod.name) {
            return tracing::warn!(%pod, "network-status is not written: the pod's name is invalid");
        }
        let mut rejected_uid = None;
        loop {
            let on_wait = || drop(self.state.send_replace(WriteState::WaitingForMirror));
            let uid = tokio::select! {
                biased;
                () = self.write.cancel.cancelled() => return,
                uid = target_uid(&self.shared.store, pod, rejected_uid.as_deref(), on_wait) => uid,
            };
            match self.send(&uid).await {
                Outcome::Written => return tracing::debug!(%pod, "wrote network-status"),
                Outcome::Cancelled => {
                    return tracing::debug!(%pod, "cancelled the write of network-status");
                }
                // The mirror of a static pod can be deleted and created again while the pod runs
                // (decision 19).
                Outcome::Rejected(error) if pod.is_static => {
                    tracing::debug!(%pod, %error, "network-status waits for a new mirror of the static pod");
                    rejected_uid = Some(uid);
                }
                Outcome::Rejected(error) => return self.report_rejection(&error),
            }
        }
    }

    fn pod(&self) -> &PodRef {
        &self.write.sandbox.pod
    }

    /// Sends the status, with retries, until the API server accepts or rejects it.
    async fn send(&self, uid: &str) -> Outcome {
        let retries = &self.shared.retries;
        let mut retry_guard = None;
        let mut overdue = None;
        loop {
            let mut attempt = pin!(self.attempt(uid));
            let result = if let Ok(result) = timeout(self.overdue_after, attempt.as_mut()).await {
                result
            } else {
                overdue.get_or_insert_with(|| OverdueGuard::new(&self.shared.overdue));
                attempt.await
            };
            let error = match result {
                Ok(()) => {
                    retries.succeeded(retry_guard);
                    return Outcome::Written;
                }
                Err(error) if matches!(error.code(), 404 | 422) => {
                    // The API server works.
                    retries.succeeded(retry_guard);
                    return Outcome::Rejected(error);
                }
                Err(error) => error,
            };
            overdue.get_or_insert_with(|| OverdueGuard::new(&self.shared.overdue));
            let text = error.to_string();
            tracing::debug!(pod = %self.pod(), error = text, "network-status is not written yet");
            self.state.send_replace(WriteState::Failed(text));
            retry_guard = tokio::select! {
                guard = retries.next(retry_guard.take(), error.retry_after()) => Some(guard),
                () = self.write.cancel.cancelled() => return Outcome::Cancelled,
            };
        }
    }

    async fn attempt(&self, uid: &str) -> Result<(), ApiError> {
        let request = patch_request(self.pod(), uid, self.text)?;
        let mut result = self.shared.api.send(request.clone()).await;
        for _ in 1..CONFLICT_ATTEMPTS {
            if !result.as_ref().is_err_and(|error| error.code() == 409) {
                break;
            }
            result = self.shared.api.send(request.clone()).await;
        }
        result
    }

    fn report_rejection(&self, error: &ApiError) {
        let pod = self.pod();
        // A pod that was deleted, or replaced by another one of the same name, needs no status.
        if error.code() == 404 || error.to_string().contains("metadata.uid") {
            return tracing::info!(%pod, %error, "network-status is not written: the pod is gone");
        }
        self.shared.events.emit(Event {
            subject: Subject::Pod(pod.clone()),
            reason: EventReason::NetworkStatusRefused,
            message: format!("network-status is not written: {error}"),
        });
    }
}

/// Counts a write as overdue until dropped.
struct OverdueGuard<'a>(&'a AtomicUsize);

impl<'a> OverdueGuard<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for OverdueGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
