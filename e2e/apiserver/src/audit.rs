//! The audit log: every request that reached the server.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::lock::{lock, wait_while};
use crate::path::ResourcePath;

/// A request in the audit log.
#[derive(Debug, Clone)]
pub struct AuditEntry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`. For a
    /// path that is not a resource, `get` or empty.
    pub verb: String,
    /// The requested resource or object; empty for a path that is not a resource.
    pub path: ResourcePath,
    /// Path and query as received.
    pub uri: String,
    /// The user; empty if the token is unknown.
    pub user: String,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// The request body.
    pub body: String,
    /// The HTTP status of the response; `None` until the response begins.
    pub code: Option<u16>,
    /// When the request was received.
    pub started: Instant,
    /// When the response was complete or the connection ended; `None` while a watch is running.
    pub finished: Option<Instant>,
}

impl AuditEntry {
    /// The verb, resource and subresource, such as `patch pods/status`.
    pub fn summary(&self) -> String {
        format!("{} {}", self.verb, self.path.resource_and_subresource())
    }

    /// Whether the request has this verb and this resource, such as `pods` or `pods/status`. `*`
    /// matches anything.
    pub fn matches(&self, verb: &str, resource: &str) -> bool {
        (verb == "*" || verb == self.verb)
            && (resource == "*" || resource == self.path.resource_and_subresource())
    }
}

/// All requests so far.
#[derive(Debug, Default)]
pub struct AuditLog {
    entries: Mutex<Vec<AuditEntry>>,
    changed: Condvar,
}

impl AuditLog {
    /// Adds a request. The returned guard completes the entry.
    pub fn begin(self: &Arc<Self>, entry: AuditEntry) -> AuditGuard {
        let mut entries = lock(&self.entries);
        entries.push(entry);
        self.changed.notify_all();
        AuditGuard {
            log: self.clone(),
            index: entries.len() - 1,
        }
    }

    /// All requests so far, in order of arrival.
    pub fn entries(&self) -> Vec<AuditEntry> {
        lock(&self.entries).clone()
    }

    /// Waits until the requests satisfy `condition` and returns them. Returns `None` on timeout.
    pub fn wait(
        &self,
        timeout: Duration,
        mut condition: impl FnMut(&[AuditEntry]) -> bool,
    ) -> Option<Vec<AuditEntry>> {
        let unmet = |entries: &mut Vec<AuditEntry>| !condition(entries);
        wait_while(&self.changed, lock(&self.entries), timeout, unmet)
            .map(|entries| entries.clone())
    }

    fn update(&self, index: usize, update: impl FnOnce(&mut AuditEntry)) {
        update(&mut lock(&self.entries)[index]);
        self.changed.notify_all();
    }
}

/// The open entry of a request that is being served. Sets `finished` on drop.
#[derive(Debug)]
pub struct AuditGuard {
    log: Arc<AuditLog>,
    index: usize,
}

impl AuditGuard {
    /// Records the status when the response begins.
    pub fn set_code(&self, code: u16) {
        self.log.update(self.index, |entry| entry.code = Some(code));
    }
}

impl Drop for AuditGuard {
    fn drop(&mut self) {
        self.log
            .update(self.index, |entry| entry.finished = Some(Instant::now()));
    }
}
