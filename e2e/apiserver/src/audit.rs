//! Every request that reached the server.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::path::Path;

/// A request.
#[derive(Debug, Clone)]
pub struct Entry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for a path that is no
    /// resource the HTTP method in lower case.
    pub verb: String,
    /// What it asked for; empty for a path that is no resource.
    pub path: Path,
    /// Path and query as they came.
    pub uri: String,
    /// Who asked; empty where the token is not known.
    pub user: String,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// The body of a write.
    pub body: String,
    /// The status that it was answered; `None` while it is not, and where the connection ended before.
    pub code: Option<u16>,
    /// When it came.
    pub started: Instant,
    /// When its answer was complete, or its connection ended. A watch that runs has none.
    pub finished: Option<Instant>,
}

impl Entry {
    /// `patch pods/status`: verb, resource and subresource.
    pub fn summary(&self) -> String {
        format!("{} {}", self.verb, self.path.resource_and_subresource())
    }

    /// Whether it is a request of this verb for this resource, such as `pods` or `pods/status`; `*` is any.
    pub fn is(&self, verb: &str, resource: &str) -> bool {
        (verb == "*" || verb == self.verb)
            && (resource == "*" || resource == self.path.resource_and_subresource())
    }
}

/// The record of requests.
#[derive(Debug, Default)]
pub struct Audit {
    entries: Mutex<Vec<Entry>>,
    changed: Condvar,
}

impl Audit {
    /// Writes a request down. The ticket says how it ends.
    pub fn begin(self: &Arc<Self>, entry: Entry) -> Ticket {
        let mut entries = self.lock();
        entries.push(entry);
        self.changed.notify_all();
        Ticket {
            audit: self.clone(),
            index: entries.len() - 1,
        }
    }

    /// All requests so far, in the order in which they came.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Waits until the requests are as `enough` wants them, and gives them. `None` after `patience`.
    pub fn wait(
        &self,
        patience: Duration,
        mut enough: impl FnMut(&[Entry]) -> bool,
    ) -> Option<Vec<Entry>> {
        let unmet = |entries: &mut Vec<Entry>| !enough(entries);
        let (entries, timeout) = self
            .changed
            .wait_timeout_while(self.lock(), patience, unmet)
            .unwrap_or_else(PoisonError::into_inner);
        (!timeout.timed_out()).then(|| entries.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn amend(&self, index: usize, change: impl FnOnce(&mut Entry)) {
        change(&mut self.lock()[index]);
        self.changed.notify_all();
    }
}

/// A request that is being answered. It has ended when this is dropped.
#[derive(Debug)]
pub struct Ticket {
    audit: Arc<Audit>,
    index: usize,
}

impl Ticket {
    /// The answer begins with this status.
    pub fn answered(&self, code: u16) {
        self.audit
            .amend(self.index, |entry| entry.code = Some(code));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.audit
            .amend(self.index, |entry| entry.finished = Some(Instant::now()));
    }
}
