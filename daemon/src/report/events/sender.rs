//! Sends events, one after the other, over a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hyper::http::Request;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::limits::{Decision, Limits};
use super::{Event, object};
use crate::backoff::Backoff;
use crate::cluster::kube::{Connection, Trouble, Writes, is_name};

/// The longest pause while the API server is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often one event is tried.
const TRIES: usize = 5;

#[derive(Debug)]
pub(super) struct Sender {
    server: Writes,
    node: Arc<str>,
    limits: Limits,
    dropped: Arc<AtomicU64>,
    backoff: Backoff,
}

impl Sender {
    pub(super) fn new(connection: Arc<Connection>, node: &str, dropped: Arc<AtomicU64>) -> Self {
        Self {
            server: Writes::new(connection),
            node: node.into(),
            limits: Limits::new(Instant::now()),
            dropped,
            backoff: Backoff::up_to(LONGEST_PAUSE),
        }
    }

    /// Sends until nobody can emit events any more.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<(Event, Timestamp)>) {
        while let Some((event, time)) = events.recv().await {
            if !self.take(&event, time).await {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether the API server has it then.
    async fn take(&mut self, event: &Event, time: Timestamp) -> bool {
        let node = self.node.clone();
        let (namespace, name) = object::place(event, &node);
        if !is_name(namespace) || !is_name(name) {
            return false;
        }
        let name = || object::name(event, &node, nanoseconds());
        let repeated = match self.limits.decide(event, name, Instant::now()) {
            Decision::Drop => return false,
            Decision::Create(name) => return self.create(event, &name, time).await,
            Decision::Repeat(name, count) => {
                self.send(|| repeat(namespace, &name, count, time)).await
            }
        };
        // Events live for an hour.
        if !repeated
            .as_ref()
            .is_err_and(|refusal| refusal.code() == 404)
        {
            return repeated.is_ok();
        }
        self.limits.forget(event);
        match self.limits.decide(event, name, Instant::now()) {
            Decision::Create(name) => self.create(event, &name, time).await,
            _ => false,
        }
    }

    async fn create(&mut self, event: &Event, name: &str, time: Timestamp) -> bool {
        let node = self.node.clone();
        let (namespace, _) = object::place(event, &node);
        let object = object::created(event, name, &node, time);
        match self.send(|| create(namespace, &object)).await {
            Ok(()) => true,
            // An earlier try has landed, though its answer was lost.
            Err(refusal) if refusal.code() == 409 => true,
            Err(refusal) => {
                self.limits.forget(event);
                tracing::debug!(subject = ?event.subject, reason = event.reason.name(), %refusal, "an event is dropped");
                false
            }
        }
    }

    /// Sends a request until there is an answer that counts, or it has been tried often enough.
    async fn send(
        &mut self,
        request: impl Fn() -> Result<Request<Vec<u8>>, Trouble>,
    ) -> Result<(), Trouble> {
        let mut left = TRIES;
        loop {
            sleep(self.limits.pace(Instant::now())).await;
            let outcome = self.server.send(request()?).await;
            left -= 1;
            match outcome {
                Err(refusal) if left > 0 && passes(&refusal) => {
                    sleep(self.backoff.next(refusal.retry_after())).await;
                }
                outcome => {
                    if !outcome.as_ref().is_err_and(passes) {
                        self.backoff.reset();
                    }
                    return outcome;
                }
            }
        }
    }
}

/// Whether the same request may succeed later.
fn passes(refusal: &Trouble) -> bool {
    !matches!(refusal.code(), 400..=428 | 430..=499)
}

fn create(namespace: &str, object: &serde_json::Value) -> Result<Request<Vec<u8>>, Trouble> {
    let params = PostParams {
        field_manager: Some("plexusd".to_owned()),
        ..PostParams::default()
    };
    Ok(events(namespace).create(&params, object.to_string().into_bytes())?)
}

fn repeat(
    namespace: &str,
    name: &str,
    count: u32,
    time: Timestamp,
) -> Result<Request<Vec<u8>>, Trouble> {
    let params = PatchParams {
        field_manager: Some("plexusd".to_owned()),
        ..PatchParams::default()
    };
    Ok(events(namespace).patch(name, &params, &Patch::Merge(object::repeated(count, time)))?)
}

fn events(namespace: &str) -> kube::core::Request {
    kube::core::Request::new(format!("/api/v1/namespaces/{namespace}/events"))
}

fn nanoseconds() -> u128 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_nanos()
}
