//! Watches: a cursor over the history of the store, sent as one JSON document per line.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::audit::AuditGuard;
use crate::faults::RequestAttributes;
use crate::list_options::validate_watch;
use crate::network::{Connection, NetworkState};
use crate::object;
use crate::query::Query;
use crate::representation::Representation;
use crate::selector::Selector;
use crate::state::ServerState;
use crate::status_error::StatusError;
use crate::store::Store;
use crate::target::Target;
use crate::watch_registry::RegisteredWatch;

/// The interval between bookmarks.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);
/// When the last bookmark is sent, before the end of the watch.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// The duration of a watch without `timeoutSeconds`.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(30);

/// The parameters of a watch.
pub struct WatchRequest {
    pub target: Target,
    pub selector: Selector,
    pub representation: Representation,
    pub attributes: RequestAttributes,
    /// The number of events after which a fault closes the connection.
    pub cut_after: Option<usize>,
}

/// The events of a running watch.
pub struct WatchStream {
    state: Arc<ServerState>,
    request: WatchRequest,
    /// The resource version up to which changes have been read.
    cursor: u64,
    /// The events that are ready to be sent.
    lines: VecDeque<Bytes>,
    resource_versions: watch::Receiver<u64>,
    faults: watch::Receiver<u64>,
    network: watch::Receiver<NetworkState>,
    bookmark_requests: watch::Receiver<u64>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    ended: bool,
    sent: usize,
    registered: RegisteredWatch,
    /// Keeps the audit entry open.
    _audit: Arc<AuditGuard>,
}

impl WatchStream {
    /// Starts a watch. A resource version that is too old is reported as an event.
    ///
    /// # Errors
    /// 400 or 422 for invalid parameters.
    pub fn start(
        state: &Arc<ServerState>,
        request: WatchRequest,
        query: &Query,
        connection: Connection,
        audit: Arc<AuditGuard>,
    ) -> Result<Self, StatusError> {
        validate_watch(query)?;
        let from = query.resource_version()?;
        let initial_events = query.flag("sendInitialEvents");
        let timeout = query
            .number("timeoutSeconds")
            .filter(|seconds| *seconds > 0)
            .map_or(DEFAULT_TIMEOUT, Duration::from_secs);
        let now = Instant::now();
        let end = now + timeout;
        let last_bookmark = end
            .checked_sub(LAST_BOOKMARK)
            .filter(|last| *last > now)
            .unwrap_or(end);
        let store = state.store();
        let mut watch = Self {
            registered: state
                .watches
                .register(&request.attributes.resource, connection),
            state: state.clone(),
            request,
            cursor: store.resource_version(),
            lines: VecDeque::new(),
            resource_versions: store.subscribe(),
            faults: state.faults.subscribe(),
            network: state.network.subscribe(),
            bookmark_requests: state.bookmark_requests.subscribe(),
            bookmarks: query.flag("allowWatchBookmarks") == Some(true),
            next_bookmark: (now + BOOKMARK_INTERVAL).min(last_bookmark),
            end,
            ended: false,
            sent: 0,
            _audit: audit,
        };
        if initial_events == Some(true) || (initial_events.is_none() && from == 0) {
            watch.push_initial_events(&store);
            if initial_events == Some(true) && watch.bookmarks {
                watch.push_bookmark(true);
            }
        } else if from > 0 {
            watch.cursor = from;
            if from < store.oldest() {
                watch.expire(store.oldest());
            }
        }
        drop(store);
        Ok(watch)
    }

    /// The response body.
    pub fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut watch| async move {
            let line = watch.next().await?;
            Some((Ok::<_, Infallible>(line), watch))
        }))
    }

    /// The next line. Returns `None` at the end of the watch.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_held() {
                tokio::select! {
                    _ = self.faults.changed() => {}
                    _ = self.network.changed() => {}
                }
                continue;
            }
            if self.lines.is_empty() && !self.ended {
                self.read_changes();
            }
            if let Some(line) = self.lines.pop_front() {
                return Some(self.send(line).await);
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                _ = self.resource_versions.changed() => {}
                _ = self.faults.changed() => {}
                _ = self.bookmark_requests.changed() => if self.bookmarks {
                    self.push_bookmark(false);
                },
                () = sleep_until(self.next_bookmark), if self.bookmarks && self.next_bookmark < self.end => {
                    self.push_bookmark(false);
                    self.schedule_bookmark();
                }
                () = sleep_until(self.end) => self.ended = true,
            }
        }
    }

    /// Whether a fault or the network holds events back.
    fn is_held(&self) -> bool {
        self.state.faults.stalls(&self.request.attributes)
            || *self.network.borrow() != NetworkState::Up
            || self.registered.connection().is_closed()
    }

    /// Counts a line, and cuts it and the connection if a fault requires it.
    async fn send(&mut self, line: Bytes) -> Bytes {
        match self.request.cut_after {
            Some(limit) if self.sent > limit => {
                // This is polled again only after the previous line was written.
                tokio::task::yield_now().await;
                self.registered.connection().close();
                std::future::pending().await
            }
            Some(limit) if self.sent == limit => {
                self.sent += 1;
                self.lines.push_front(Bytes::new());
                line.slice(..line.len() / 2)
            }
            _ => {
                self.sent += 1;
                line
            }
        }
    }

    fn push_initial_events(&mut self, store: &Store) {
        for object in store.table(&self.request.target.table()).values() {
            if self.request.selector.matches(object) {
                let object = self
                    .request
                    .representation
                    .object(&self.request.target, object);
                self.push("ADDED", &object);
            }
        }
    }

    /// Reads the changes since the cursor from the history.
    fn read_changes(&mut self) {
        let state = self.state.clone();
        let store = state.store();
        // Checked under the lock, so that nothing is sent that was written after a test injected a
        // fault.
        if self.is_held() {
            return;
        }
        self.resource_versions.mark_unchanged();
        if self.cursor < store.last_dropped() {
            self.expire(store.oldest());
            return;
        }
        let WatchRequest {
            target,
            selector,
            representation,
            ..
        } = &self.request;
        let mut events = Vec::new();
        for change in store.changes_since(&target.table(), self.cursor) {
            let event = selector.watch_event(change.before.as_deref(), change.after.as_deref());
            if let Some((event_type, object)) = event {
                let mut object = representation.object(target, object);
                object::set_resource_version(&mut object, change.resource_version);
                events.push((event_type, object));
            }
        }
        self.cursor = self.cursor.max(store.resource_version());
        // Watches of a custom resource end when its definition is deleted.
        let resource = &target.resource;
        if resource.custom
            && store
                .resources
                .by_name(&resource.qualified_name())
                .is_none()
        {
            self.ended = true;
        }
        drop(store);
        for (event_type, object) in events {
            self.push(event_type.as_str(), &object);
        }
    }

    fn push_bookmark(&mut self, initial_events_end: bool) {
        // A bookmark follows all events up to its resource version. Right after the initial events,
        // there are no other events yet.
        if !initial_events_end {
            self.read_changes();
        }
        let object = self.request.representation.bookmark(
            &self.request.target,
            self.cursor,
            initial_events_end,
        );
        self.push("BOOKMARK", &object);
    }

    fn schedule_bookmark(&mut self) {
        let last = self.end.checked_sub(LAST_BOOKMARK).unwrap_or(self.end);
        self.next_bookmark = if self.next_bookmark < last {
            (self.next_bookmark + BOOKMARK_INTERVAL).min(last)
        } else {
            self.end
        };
    }

    /// Ends the watch because the history no longer has the changes after the cursor.
    fn expire(&mut self, oldest: u64) {
        let error = StatusError::expired(&format!(
            "too old resource version: {} ({oldest})",
            self.cursor
        ));
        if let Some(status) = error.as_status() {
            self.push("ERROR", status);
        }
        self.ended = true;
    }

    fn push(&mut self, event_type: &str, object: &Value) {
        let event = json!({"type": event_type, "object": object});
        self.lines.push_back(Bytes::from(format!("{event}\n")));
    }
}
