//! Sends events to the API server, one at a time, over a separate connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hyper::http::Request;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::correlator::{Action, Correlator};
use super::{Event, object};
use crate::backoff::Backoff;
use crate::cluster::kube::{ApiError, ApiWriter, Connection, is_object_name};

/// The longest pause between attempts while the API server is unavailable.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The maximum number of attempts for a request.
const ATTEMPTS: usize = 5;

#[derive(Debug)]
pub(super) struct Sender {
    api: ApiWriter,
    node: Arc<str>,
    correlator: Correlator,
    dropped: Arc<AtomicU64>,
    backoff: Backoff,
}

impl Sender {
    pub(super) fn new(connection: Arc<Connection>, node: &str, dropped: Arc<AtomicU64>) -> Self {
        Self {
            api: ApiWriter::new(connection),
            node: node.into(),
            correlator: Correlator::new(Instant::now()),
            dropped,
            backoff: Backoff::up_to(LONGEST_PAUSE),
        }
    }

    /// Runs until all senders of `events` are dropped.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<(Event, Timestamp)>) {
        while let Some((event, time)) = events.recv().await {
            if !self.deliver(&event, time).await {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Sends one event. Returns whether the API server has the event.
    async fn deliver(&mut self, event: &Event, time: Timestamp) -> bool {
        let node = self.node.clone();
        let (namespace, name) = object::namespace_and_name(event, &node);
        if !is_object_name(namespace) || !is_object_name(name) {
            return false;
        }
        match self.correlate(event) {
            Action::Drop => false,
            Action::Create(name) => self.create(event, &name, time).await,
            Action::SetCount(name, count) => {
                let result = self.send(|| set_count(namespace, &name, count, time)).await;
                match result {
                    // The API server deletes events after an hour.
                    Err(error) if error.code() == 404 => self.recreate(event, time).await,
                    result => result.is_ok(),
                }
            }
        }
    }

    async fn recreate(&mut self, event: &Event, time: Timestamp) -> bool {
        self.correlator.forget(event);
        match self.correlate(event) {
            Action::Create(name) => self.create(event, &name, time).await,
            Action::SetCount(..) | Action::Drop => false,
        }
    }

    async fn create(&mut self, event: &Event, name: &str, time: Timestamp) -> bool {
        let node = self.node.clone();
        let (namespace, _) = object::namespace_and_name(event, &node);
        let object = object::new(event, name, &node, time);
        match self.send(|| create(namespace, &object)).await {
            Ok(()) => true,
            // An earlier attempt created the object, but its response was lost; or another node has
            // emitted the same event on a definition.
            Err(error) if error.code() == 409 => true,
            Err(error) => {
                self.correlator.forget(event);
                tracing::debug!(subject = ?event.subject, reason = event.reason.name(), %error, "dropped an event");
                false
            }
        }
    }

    fn correlate(&mut self, event: &Event) -> Action {
        let name = || object::new_name(event, &self.node, unix_nanoseconds());
        self.correlator.correlate(event, name, Instant::now())
    }

    /// Sends a request. Retries errors that may be transient.
    async fn send(
        &mut self,
        request: impl Fn() -> Result<Request<Vec<u8>>, ApiError>,
    ) -> Result<(), ApiError> {
        let mut attempts_left = ATTEMPTS;
        loop {
            sleep(self.correlator.throttle(Instant::now())).await;
            let result = self.api.send(request()?).await;
            attempts_left -= 1;
            match result {
                Err(error) if !error.is_refusal() => {
                    if attempts_left == 0 {
                        return Err(error);
                    }
                    sleep(self.backoff.next(error.retry_after())).await;
                }
                result => {
                    self.backoff.reset();
                    return result;
                }
            }
        }
    }
}

fn create(namespace: &str, object: &Value) -> Result<Request<Vec<u8>>, ApiError> {
    let params = PostParams {
        field_manager: Some("plexusd".to_owned()),
        ..PostParams::default()
    };
    Ok(events(namespace).create(&params, object.to_string().into_bytes())?)
}

fn set_count(
    namespace: &str,
    name: &str,
    count: u32,
    time: Timestamp,
) -> Result<Request<Vec<u8>>, ApiError> {
    let params = PatchParams {
        field_manager: Some("plexusd".to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(object::count_patch(count, time));
    Ok(events(namespace).patch(name, &params, &patch)?)
}

fn events(namespace: &str) -> kube::core::Request {
    kube::core::Request::new(format!("/api/v1/namespaces/{namespace}/events"))
}

fn unix_nanoseconds() -> u128 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_nanos()
}
