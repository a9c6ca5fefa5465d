//! Writes network-status to pods of a cluster: a PATCH each, never a read, again and again until it has landed or the
//! sandbox is gone.

mod pod_status;
mod write;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::SandboxRef;
use super::events::{Event, EventReason, Events, Subject};
use crate::backoff::Backoff;
use crate::cluster::Store;
use crate::cluster::kube::{ApiError, ApiWriter, Connection, is_object_name};
use crate::model::PodRef;
use crate::mutex::lock;
use pod_status::{patch, target};
pub(crate) use write::{NotYet, Write};
use write::{Progress, Teller};

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The shortest, also where another write has just landed.
const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
/// A conflict is tried again at once, this many times in all (K-092).
const CONFLICTS: usize = 3;

/// The writer. With its end all writes are given up at once; the ledger remembers them for the next one.
#[derive(Debug)]
pub(super) struct Writer {
    inner: Arc<Inner>,
    closed: CancellationToken,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

#[derive(Debug)]
struct Inner {
    server: ApiWriter,
    store: Store,
    events: Events,
    /// The latest write of each pod, by namespace and name, until its [`Write`] is dropped.
    pending: Mutex<HashMap<(String, String), Arc<Entry>>>,
    overdue: AtomicUsize,
    /// Of the writes that have failed only one is tried again at a time, in turn: a server in trouble is asked once
    /// for all of them.
    again: tokio::sync::Mutex<Again>,
    landed: Notify,
}

/// When the next try may be.
#[derive(Debug)]
struct Again {
    backoff: Backoff,
    /// The last try worked; the next one need not wait.
    works: bool,
}

/// A write that is under way.
#[derive(Debug)]
struct Entry {
    sandbox: SandboxRef,
    cancel: CancellationToken,
    ended: CancellationToken,
}

/// How sending ended.
enum Sent {
    Landed,
    /// There is no such pod, or not with this UID, or the server refuses the text.
    Refused(ApiError),
    Cancelled,
}

impl Writer {
    pub(super) fn new(connection: Arc<Connection>, store: Store, events: Events) -> Self {
        let inner = Inner {
            server: ApiWriter::new(connection),
            store,
            events,
            pending: Mutex::default(),
            overdue: AtomicUsize::new(0),
            again: tokio::sync::Mutex::new(Again {
                backoff: Backoff::up_to(LONGEST_PAUSE),
                works: false,
            }),
            landed: Notify::new(),
        };
        Self {
            inner: Arc::new(inner),
            closed: CancellationToken::new(),
        }
    }

    /// Begins to write `text` for a sandbox if it is the newest of its pod: another write for the pod is given up.
    pub(super) fn write(
        &self,
        sandbox: SandboxRef,
        text: String,
        patience: Duration,
        is_newest: impl FnOnce() -> bool,
    ) -> Write {
        let entry = Arc::new(Entry {
            sandbox,
            cancel: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        let earlier = {
            let mut pending = self.inner.pending();
            // Under the lock: the write of a newer one is begun before it, and was asked about, or takes its place.
            if !is_newest() {
                tracing::debug!(pod = %entry.sandbox.pod, "network-status is that of a newer sandbox");
                return Write::finished(Ok(()));
            }
            pending.insert(key(&entry.sandbox.pod), entry.clone())
        };
        let (write, teller) = Write::begun({
            let (inner, entry) = (self.inner.clone(), entry.clone());
            move || inner.forget(&entry)
        });
        let (inner, closed) = (self.inner.clone(), self.closed.clone());
        tokio::spawn(closed.run_until_cancelled_owned(async move {
            let _ended = entry.ended.clone().drop_guard();
            // Two requests for one pod at a time could land in either order.
            if let Some(earlier) = earlier {
                earlier.cancel.cancel();
                earlier.ended.cancelled().await;
            }
            inner.deliver(&entry, &text, patience, &teller).await;
            teller.tell(Progress::Done);
        }));
        write
    }

    /// Whether there is a write for this pod.
    pub(super) fn has(&self, pod: &PodRef) -> bool {
        self.inner.pending().contains_key(&key(pod))
    }

    /// Whether a write is overdue.
    pub(super) fn is_overdue(&self) -> bool {
        self.inner.overdue.load(Ordering::Relaxed) > 0
    }

    /// Ends the write of this sandbox after its present request.
    pub(super) fn cancel(&self, sandbox: &SandboxRef) {
        let pending = self.inner.pending();
        if let Some(entry) = pending
            .get(&key(&sandbox.pod))
            .filter(|entry| entry.sandbox.is(sandbox))
        {
            entry.cancel.cancel();
        }
    }
}

impl SandboxRef {
    fn is(&self, other: &Self) -> bool {
        (&self.container_id, &self.ifname) == (&other.container_id, &other.ifname)
    }
}

fn key(pod: &PodRef) -> (String, String) {
    (pod.namespace.clone(), pod.name.clone())
}

impl Inner {
    fn pending(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<Entry>>> {
        // The map is whole after each operation on it.
        lock(&self.pending)
    }

    /// Nobody waits for this write any more.
    fn forget(&self, entry: &Arc<Entry>) {
        entry.cancel.cancel();
        let mut pending = self.pending();
        let key = key(&entry.sandbox.pod);
        if pending
            .get(&key)
            .is_some_and(|latest| Arc::ptr_eq(latest, entry))
        {
            pending.remove(&key);
        }
    }

    /// Writes until nothing is left to do.
    async fn deliver(&self, entry: &Entry, text: &str, patience: Duration, teller: &Teller) {
        let pod = &entry.sandbox.pod;
        if ![&pod.namespace, &pod.name]
            .into_iter()
            .all(|name| is_object_name(name))
        {
            return tracing::warn!(%pod, "network-status is not written: no pod can have this name");
        }
        let mut refused = None;
        loop {
            let uid = tokio::select! {
                biased;
                () = entry.cancel.cancelled() => return,
                uid = target(&self.store, pod, refused.as_deref(), || teller.tell(Progress::NoMirror)) => uid,
            };
            match self.send(entry, &uid, text, patience, teller).await {
                Sent::Landed => return tracing::debug!(%pod, "network-status is written"),
                Sent::Cancelled => {
                    return tracing::debug!(%pod, "network-status is not wanted any more");
                }
                // The mirror of a static pod comes and goes with the API server; the pod stays (decision 19).
                Sent::Refused(refusal) if pod.is_static => {
                    tracing::debug!(%pod, %refusal, "network-status waits for the mirror of the static pod");
                    refused = Some(uid);
                }
                Sent::Refused(refusal) => return self.tell_refusal(pod, &refusal),
            }
        }
    }

    /// Sends until there is an answer that counts.
    async fn send(
        &self,
        entry: &Entry,
        uid: &str,
        text: &str,
        patience: Duration,
        teller: &Teller,
    ) -> Sent {
        let mut turn = None;
        let mut overdue = None;
        loop {
            let mut attempt = pin!(self.attempt(&entry.sandbox.pod, uid, text));
            let outcome = if let Ok(outcome) = timeout(patience, attempt.as_mut()).await {
                outcome
            } else {
                overdue.get_or_insert_with(|| Overdue::begin(&self.overdue));
                attempt.await
            };
            let refusal = match outcome {
                Ok(()) => None,
                Err(refusal) if matches!(refusal.code(), 404 | 422) => Some(refusal),
                Err(trouble) => {
                    overdue.get_or_insert_with(|| Overdue::begin(&self.overdue));
                    let again = tokio::select! {
                        again = self.pause(turn.take(), trouble, &entry.sandbox.pod, teller) => again,
                        () = entry.cancel.cancelled() => return Sent::Cancelled,
                    };
                    turn = Some(again);
                    continue;
                }
            };
            // The server works.
            if let Some(mut again) = turn {
                again.works = true;
                again.backoff.reset();
            }
            self.landed.notify_waiters();
            return refusal.map_or(Sent::Landed, Sent::Refused);
        }
    }

    /// After a try that failed: tells of it, waits for this write's turn among all that failed, then for the time of
    /// the next try.
    async fn pause<'a>(
        &'a self,
        turn: Option<tokio::sync::MutexGuard<'a, Again>>,
        trouble: ApiError,
        pod: &PodRef,
        teller: &Teller,
    ) -> tokio::sync::MutexGuard<'a, Again> {
        tracing::debug!(%pod, trouble = %trouble, "network-status is not written yet");
        let asked = trouble.retry_after();
        teller.tell(Progress::Failed(trouble.to_string()));
        if let Some(mut turn) = turn {
            turn.works = false;
        }
        let mut again = self.again.lock().await;
        if std::mem::take(&mut again.works) && asked.is_zero() {
            return again;
        }
        let mut landed = pin!(self.landed.notified());
        landed.as_mut().enable();
        let now = Instant::now();
        let end = now + again.backoff.next(asked);
        sleep(SHORTEST_PAUSE).await;
        tokio::select! {
            () = sleep_until(end) => {}
            // Another write has landed: the server is back. It is not asked sooner than it wants to be.
            () = async { landed.await; sleep_until(now + asked).await } => {}
        }
        again
    }

    async fn attempt(&self, pod: &PodRef, uid: &str, text: &str) -> Result<(), ApiError> {
        let request = patch(pod, uid, text)?;
        let mut outcome = self.server.send(request.clone()).await;
        for _ in 1..CONFLICTS {
            if !outcome.as_ref().is_err_and(|refusal| refusal.code() == 409) {
                break;
            }
            outcome = self.server.send(request.clone()).await;
        }
        outcome
    }

    fn tell_refusal(&self, pod: &PodRef, refusal: &ApiError) {
        // A pod that was deleted, or replaced under its name, needs no status.
        if refusal.code() == 404 || refusal.to_string().contains("metadata.uid") {
            return tracing::info!(%pod, %refusal, "network-status is not written: the pod is gone");
        }
        let message = format!("network-status is not written: {refusal}");
        self.events.emit(Event {
            subject: Subject::Pod(pod.clone()),
            reason: EventReason::NetworkStatusRefused,
            message,
        });
    }
}

/// Counts as overdue while it lives.
struct Overdue<'a>(&'a AtomicUsize);

impl<'a> Overdue<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Overdue<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
