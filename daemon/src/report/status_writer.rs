//! Writes network-status to the pods of a cluster: one PATCH for each, without reading the pod
//! first, retried until the write succeeds or the sandbox is deleted.

mod answers;
mod delivery;
mod request;
mod retry;
mod text;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::PodSandbox;
use super::events::Events;
use crate::cluster::Store;
use crate::cluster::kube::{ApiWriter, Connection};
use crate::model::PodRef;
use crate::mutex::lock;
use answers::Answers;
use delivery::Delivery;
use retry::Retries;
pub(crate) use text::{RenderStatus, StatusText};
pub(crate) use write::{StatusWrite, StatusWriteError, WriteState};

/// Writes network-status in the background. Dropping the writer cancels all writes; the next daemon
/// resumes them from the ledger.
#[derive(Debug)]
pub(super) struct StatusWriter {
    shared: Arc<Shared>,
    closed: CancellationToken,
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// The state that all writes share.
#[derive(Debug)]
struct Shared {
    api: ApiWriter,
    store: Store,
    events: Events,
    /// The latest write of each pod, until its [`StatusWrite`] is dropped.
    pending: Mutex<HashMap<PodKey, Arc<PendingWrite>>>,
    answers: Answers,
    retries: Retries,
}

/// Namespace and name.
type PodKey = (String, String);

#[derive(Debug)]
struct PendingWrite {
    sandbox: PodSandbox,
    cancel: CancellationToken,
    ended: CancellationToken,
    state: watch::Receiver<WriteState>,
}

impl StatusWriter {
    pub(super) fn new(connection: Arc<Connection>, store: Store, events: Events) -> Self {
        let shared = Shared {
            api: ApiWriter::new(connection),
            store,
            events,
            pending: Mutex::default(),
            answers: Answers::default(),
            retries: Retries::default(),
        };
        Self {
            shared: Arc::new(shared),
            closed: CancellationToken::new(),
        }
    }

    /// Starts writing `text` if the sandbox is the newest of its pod. Cancels an earlier write for
    /// the pod.
    pub(super) fn write(
        &self,
        sandbox: PodSandbox,
        text: StatusText,
        overdue_after: Duration,
        is_newest: impl FnOnce() -> bool,
    ) -> StatusWrite {
        let (state, receiver) = watch::channel(WriteState::Sending);
        let write = Arc::new(PendingWrite {
            sandbox,
            cancel: CancellationToken::new(),
            ended: CancellationToken::new(),
            state: receiver.clone(),
        });
        let earlier = {
            let mut pending = self.shared.pending();
            // Under the lock: a newer sandbox either has its record already, or replaces this
            // write.
            if !is_newest() {
                tracing::debug!(pod = %write.sandbox.pod, "skipping network-status: the pod has a newer sandbox");
                return StatusWrite::finished(Ok(()));
            }
            pending.insert(key(&write.sandbox.pod), write.clone())
        };
        let handle = StatusWrite::started(receiver, {
            let (shared, write) = (self.shared.clone(), write.clone());
            move || shared.forget(&write)
        });
        let (shared, closed) = (self.shared.clone(), self.closed.clone());
        tokio::spawn(closed.run_until_cancelled_owned(async move {
            let _ended = write.ended.clone().drop_guard();
            // Two concurrent requests for a pod could arrive in either order.
            if let Some(earlier) = earlier {
                earlier.cancel.cancel();
                earlier.ended.cancelled().await;
            }
            let delivery = Delivery {
                shared: &shared,
                write: &write,
                overdue_after,
                state: &state,
            };
            if delivery.run(text).await {
                state.send_replace(WriteState::Done);
            }
        }));
        handle
    }

    /// Whether a write for this pod is pending.
    pub(super) fn is_pending(&self, pod: &PodRef) -> bool {
        self.shared.pending().contains_key(&key(pod))
    }

    /// The writes that have not ended, by `namespace/name` of their pod.
    pub(super) fn pending(&self) -> BTreeMap<String, WriteState> {
        let pending = self.shared.pending();
        let states = pending.values().map(|write| {
            let state = write.state.borrow().clone();
            (write.sandbox.pod.to_string(), state)
        });
        states
            .filter(|(_, state)| *state != WriteState::Done)
            .collect()
    }

    /// Whether a write is overdue, and the API server has answered no other write since.
    pub(super) fn is_overdue(&self) -> bool {
        self.shared.answers.has_overdue()
    }

    /// Cancels the write for this sandbox. A request in flight completes first.
    pub(super) fn cancel(&self, sandbox: &PodSandbox) {
        let is_same = |other: &PodSandbox| {
            (&other.container_id, &other.ifname) == (&sandbox.container_id, &sandbox.ifname)
        };
        if let Some(write) = self
            .shared
            .pending()
            .get(&key(&sandbox.pod))
            .filter(|write| is_same(&write.sandbox))
        {
            write.cancel.cancel();
        }
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, HashMap<PodKey, Arc<PendingWrite>>> {
        lock(&self.pending)
    }

    /// Cancels and removes a write whose handle was dropped.
    fn forget(&self, write: &Arc<PendingWrite>) {
        write.cancel.cancel();
        let mut pending = self.pending();
        let key = key(&write.sandbox.pod);
        if pending
            .get(&key)
            .is_some_and(|latest| Arc::ptr_eq(latest, write))
        {
            pending.remove(&key);
        }
    }
}

fn key(pod: &PodRef) -> PodKey {
    (pod.namespace.clone(), pod.name.clone())
}
