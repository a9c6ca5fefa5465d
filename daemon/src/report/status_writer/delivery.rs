//! Sends the network-status of one sandbox, until the status is written or no longer needed.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::answers::OverdueGuard;
use super::request::{patch_request, target_uid};
use super::retry::PodRetries;
use super::text::StatusText;
use super::write::WriteState;
use super::{PendingWrite, Shared};
use crate::cluster::kube::{ApiError, is_object_name};
use crate::model::PodRef;
use crate::report::events::{Event, EventReason, Subject, limit_message};

/// The number of consecutive attempts if the API server reports a conflict (K-092).
const CONFLICT_ATTEMPTS: usize = 3;
/// The number of failed attempts after which an event reports the pod. An API server that starts
/// refuses some requests for a moment.
const REPORTED_FAILURE: u32 = 3;

pub(super) struct Delivery<'a> {
    pub(super) shared: &'a Shared,
    pub(super) write: &'a PendingWrite,
    pub(super) overdue_after: Duration,
    pub(super) state: &'a watch::Sender<WriteState>,
}

/// The outcome of sending a status for one UID.
enum Outcome {
    Written,
    /// The pod does not exist or has another UID.
    Gone(ApiError),
    Cancelled,
    /// The text cannot be rendered again.
    NoText,
}

impl Delivery<'_> {
    /// Returns whether the status is written or no longer needed.
    pub(super) async fn run(&self, mut text: StatusText) -> bool {
        let pod = self.pod();
        if !is_object_name(&pod.namespace) || !is_object_name(&pod.name) {
            tracing::warn!(%pod, "network-status is not written: the pod's name is invalid");
            return true;
        }
        let mut gone_uid = None;
        loop {
            let on_wait = || {
                text.release();
                self.state.send_replace(WriteState::WaitingForMirror);
            };
            let uid = tokio::select! {
                biased;
                () = self.write.cancel.cancelled() => return true,
                uid = target_uid(&self.shared.store, pod, gone_uid.as_deref(), on_wait) => uid,
            };
            match self.send(&uid, &mut text).await {
                Outcome::Written => tracing::debug!(%pod, "wrote network-status"),
                Outcome::Cancelled => {
                    tracing::debug!(%pod, "cancelled the write of network-status");
                }
                // The mirror of a static pod can be deleted and created again while the pod runs
                // (decision 19).
                Outcome::Gone(error) if pod.is_static => {
                    tracing::debug!(%pod, %error, "network-status waits for a new mirror of the static pod");
                    gone_uid = Some(uid);
                    continue;
                }
                Outcome::Gone(error) => {
                    tracing::info!(%pod, %error, "network-status is not written: the pod is gone");
                }
                Outcome::NoText => {
                    tracing::debug!(%pod, "network-status is not written: its record was changed or cannot be read");
                    return false;
                }
            }
            return true;
        }
    }

    fn pod(&self) -> &PodRef {
        &self.write.sandbox.pod
    }

    /// Sends the status, with retries, until it is written or no longer needed.
    async fn send(&self, uid: &str, text: &mut StatusText) -> Outcome {
        let Shared {
            retries, answers, ..
        } = self.shared;
        let mut retry_guard = None;
        let mut overdue = None;
        let mut pod_retries = PodRetries::default();
        let mut answers_before = None;
        loop {
            let Some(status) = text.get().await else {
                return Outcome::NoText;
            };
            let error = match self.attempt(uid, status, &mut overdue).await {
                Ok(()) => {
                    answers.record();
                    retries.succeeded(retry_guard);
                    if pod_retries.failures() > 0 {
                        retries.pod_recovered();
                    }
                    return Outcome::Written;
                }
                Err(error) => error,
            };
            if error.is_refusal() {
                // The API server works.
                answers.record();
                retries.succeeded(retry_guard.take());
            }
            if error.code() == 404 || error.is_other_uid() {
                return Outcome::Gone(error);
            }
            text.release();
            let cause = limit_message(&error.to_string()).to_owned();
            tracing::debug!(pod = %self.pod(), error = cause, "network-status is not written yet");
            self.state.send_replace(if error.is_refusal() {
                WriteState::Refused(cause)
            } else {
                WriteState::Failed(cause)
            });
            let others_answered = answers_before.is_some_and(|before| before != answers.count());
            answers_before = Some(answers.count());
            if error.is_refusal() || others_answered || pod_retries.failures() > 0 {
                (retry_guard, overdue) = (None, None);
                if pod_retries.failures() + 1 == REPORTED_FAILURE {
                    self.report(&error);
                }
                tokio::select! {
                    () = pod_retries.pause(retries) => {}
                    () = self.write.cancel.cancelled() => return Outcome::Cancelled,
                }
            } else {
                overdue = Some(answers.overdue());
                retry_guard = tokio::select! {
                    guard = retries.next(retry_guard.take(), error.retry_after()) => Some(guard),
                    () = self.write.cancel.cancelled() => return Outcome::Cancelled,
                };
            }
        }
    }

    /// Sends the status once. Sets `overdue` if there is no answer in time.
    async fn attempt<'a>(
        &'a self,
        uid: &str,
        status: &str,
        overdue: &mut Option<OverdueGuard<'a>>,
    ) -> Result<(), ApiError> {
        let mut request = pin!(self.request(uid, status));
        if let Ok(result) = timeout(self.overdue_after, request.as_mut()).await {
            return result;
        }
        *overdue = Some(self.shared.answers.overdue());
        request.await
    }

    async fn request(&self, uid: &str, status: &str) -> Result<(), ApiError> {
        let request = patch_request(self.pod(), uid, status)?;
        let mut result = self.shared.api.send(request.clone()).await;
        for _ in 1..CONFLICT_ATTEMPTS {
            if !result.as_ref().is_err_and(|error| error.code() == 409) {
                break;
            }
            result = self.shared.api.send(request.clone()).await;
        }
        result
    }

    fn report(&self, error: &ApiError) {
        let next_step = if error.is_missing_right() {
            "; let plexusd patch pods/status, as the ClusterRole of deploy/ does"
        } else {
            ""
        };
        self.shared.events.emit(Event {
            subject: Subject::Pod(self.pod().clone()),
            reason: EventReason::NetworkStatusRefused,
            message: format!(
                "network-status is not written, and is retried with growing pauses: {error}{next_step}"
            ),
        });
    }
}
