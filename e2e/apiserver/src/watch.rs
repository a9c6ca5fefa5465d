//! Watches: a cursor over the store's changes, written as one JSON document a line.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::audit::Ticket;
use super::faults::Befallen;
use super::list::revision;
use super::negotiate::View;
use super::path::Query;
use super::refusal::{Cause, Refusal};
use super::selector::{Seen, Selector, in_namespace};
use super::serve::{Connection, Link};
use super::shared::{Running, Shared};
use super::store::Store;
use super::target::Target;

/// How often a watch that wants bookmarks gets one.
const BOOKMARKS: Duration = Duration::from_mins(1);
/// One more comes so long before a watch ends.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// How long a watch lasts that does not say it.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(30);

/// What a watch is asked for.
pub struct Request {
    /// The resource.
    pub target: Target,
    /// Which objects.
    pub selector: Selector,
    /// In which form.
    pub view: View,
    /// How faults see it.
    pub befallen: Befallen,
    /// After how many events a fault ends it.
    pub cut_after: Option<usize>,
}

/// A watch that runs.
pub struct Watch {
    shared: Arc<Shared>,
    request: Request,
    cursor: u64,
    lines: VecDeque<Bytes>,
    revisions: watch::Receiver<u64>,
    faults: watch::Receiver<u64>,
    link: watch::Receiver<Link>,
    nudges: watch::Receiver<u64>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    ended: bool,
    sent: usize,
    running: Running,
    _ticket: Arc<Ticket>,
}

impl Watch {
    /// Starts one. A resource version that is too old is told by the watch itself, as its only event.
    pub fn start(
        shared: &Arc<Shared>,
        request: Request,
        query: &Query,
        connection: Connection,
        ticket: Arc<Ticket>,
    ) -> Result<Self, Refusal> {
        validate(query)?;
        let given = query.text("resourceVersion");
        let from = revision(given)?;
        let initial = query.flag("sendInitialEvents");
        let bookmarks = query.flag("allowWatchBookmarks") == Some(true);
        let timeout = query
            .number("timeoutSeconds")
            .filter(|seconds| *seconds > 0);
        let now = Instant::now();
        let end = now + timeout.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
        let store = shared.store();
        let mut watch = Self {
            running: shared.running(&request.befallen.resource, connection),
            shared: shared.clone(),
            request,
            cursor: store.revision(),
            lines: VecDeque::new(),
            revisions: store.subscribe(),
            faults: shared.faults.subscribe(),
            link: shared.link.subscribe(),
            nudges: shared.nudges.subscribe(),
            bookmarks,
            next_bookmark: (now + BOOKMARKS).min(
                end.checked_sub(LAST_BOOKMARK)
                    .filter(|at| *at > now)
                    .unwrap_or(end),
            ),
            end,
            ended: false,
            sent: 0,
            _ticket: ticket,
        };
        if initial == Some(true) || (initial.is_none() && from == 0) {
            watch.show_present(&store);
            if initial == Some(true) && bookmarks {
                watch.bookmark(true);
            }
        } else if from > 0 {
            watch.cursor = from;
            if from < store.oldest() {
                watch.expire(&format!(
                    "too old resource version: {from} ({})",
                    store.oldest()
                ));
            }
        }
        drop(store);
        Ok(watch)
    }

    /// The answer's body.
    pub fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut watch| async move {
            let line = watch.next().await?;
            Some((Ok::<_, Infallible>(line), watch))
        }))
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.is_held() {
                tokio::select! {
                    _ = self.faults.changed() => {}
                    _ = self.link.changed() => {}
                }
            } else {
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
                    _ = self.revisions.changed() => {}
                    _ = self.faults.changed() => {}
                    _ = self.nudges.changed() => if self.bookmarks { self.bookmark(false) },
                    () = sleep_until(self.next_bookmark), if self.bookmarks && self.next_bookmark < self.end => {
                        self.bookmark(false);
                        let last = self.end.checked_sub(LAST_BOOKMARK).unwrap_or(self.end);
                        let next = self.next_bookmark + BOOKMARKS;
                        self.next_bookmark = if self.next_bookmark < last { next.min(last) } else { self.end };
                    }
                    () = sleep_until(self.end) => self.ended = true,
                }
            }
        }
    }

    /// Whether it may say nothing now.
    fn is_held(&self) -> bool {
        self.shared.faults.stalls(&self.request.befallen)
            || *self.link.borrow() != Link::Up
            || self.running.connection().is_cut()
    }

    /// Counts a line, and cuts the connection where a fault wants it.
    async fn send(&mut self, line: Bytes) -> Bytes {
        match self.request.cut_after {
            Some(limit) if self.sent > limit => {
                // What was sent before has left by now: this is polled again only after it was written.
                tokio::task::yield_now().await;
                self.running.connection().cut();
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

    fn namespace(&self) -> Option<String> {
        let namespace = &self.request.target.namespace;
        (!namespace.is_empty()).then(|| namespace.clone())
    }

    fn show_present(&mut self, store: &Store) {
        let namespace = self.namespace();
        for object in store.table(&self.request.target.storage()).values() {
            if in_namespace(object, namespace.as_deref()) && self.request.selector.matches(object) {
                let object = self.request.view.show(&self.request.target, object);
                self.push("ADDED", &object);
            }
        }
    }

    fn read_changes(&mut self) {
        let shared = self.shared.clone();
        let store = shared.store();
        // Under the lock: what was written after a test let something fail is not told.
        if self.is_held() {
            return;
        }
        self.revisions.mark_unchanged();
        let target = &self.request.target;
        if self.cursor < store.forgotten() {
            let why = format!(
                "too old resource version: {} ({})",
                self.cursor,
                store.oldest()
            );
            drop(store);
            self.expire(&why);
            return;
        }
        let namespace = self.namespace();
        let mut events = Vec::new();
        for change in store.changes_since(&target.storage(), self.cursor) {
            let within = |object: &Value| in_namespace(object, namespace.as_deref());
            let seen = self.request.selector.see(
                change.before.as_deref(),
                change.after.as_deref(),
                within,
            );
            let Some((seen, object)) = seen else { continue };
            let kind = match seen {
                Seen::Added => "ADDED",
                Seen::Modified => "MODIFIED",
                Seen::Deleted => "DELETED",
            };
            let mut object = self.request.view.show(target, object);
            super::object::set_meta(&mut object, "resourceVersion", change.revision.to_string());
            events.push((kind, object));
        }
        self.cursor = self.cursor.max(store.revision());
        // A definition that is gone takes its watches with it.
        if target.kind.custom && store.kinds.named(&target.kind.qualified()).is_none() {
            self.ended = true;
        }
        drop(store);
        for (kind, object) in events {
            self.push(kind, &object);
        }
    }

    fn bookmark(&mut self, initial_end: bool) {
        // It comes after everything up to its revision; the one after the initial state has that already.
        if !initial_end {
            self.read_changes();
        }
        let object = self
            .request
            .view
            .bookmark(&self.request.target, self.cursor, initial_end);
        self.push("BOOKMARK", &object);
    }

    fn expire(&mut self, why: &str) {
        if let Some(status) = Refusal::expired(why).as_status() {
            self.push("ERROR", status);
        }
        self.ended = true;
    }

    fn push(&mut self, kind: &str, object: &Value) {
        self.lines.push_back(Bytes::from(format!(
            "{}\n",
            json!({"type": kind, "object": object})
        )));
    }
}

/// Refuses parameters that do not go together.
fn validate(query: &Query) -> Result<(), Refusal> {
    let wanted = query.text("resourceVersionMatch");
    let initial = query.flag("sendInitialEvents").is_some();
    let field = "resourceVersionMatch";
    let mut causes = Vec::new();
    if initial && wanted != "NotOlderThan" {
        causes.push(Cause::forbidden(
            field,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if !wanted.is_empty() {
        if !initial {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(Cause::forbidden(field, why));
        }
        if wanted != "NotOlderThan" {
            causes.push(Cause::not_supported(field, wanted, "\"NotOlderThan\""));
        }
        if !query.text("continue").is_empty() {
            causes.push(Cause::forbidden(
                field,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
    }
    if causes.is_empty() {
        Ok(())
    } else {
        Err(Refusal::invalid("meta.k8s.io", "ListOptions", "", &causes))
    }
}
