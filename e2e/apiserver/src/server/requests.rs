//! Requests of clients: the audit log, watches, and faults.

use std::time::Duration;

use super::ApiServer;
use crate::audit::AuditEntry;
use crate::faults::{Fault, FaultId};

impl ApiServer {
    /// All requests so far, in order of arrival. Calls of the methods of this type are not
    /// requests.
    pub fn audit(&self) -> Vec<AuditEntry> {
        self.state.audit.entries()
    }

    /// The number of requests with this verb and resource. `*` matches anything.
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        self.audit()
            .iter()
            .filter(|entry| entry.matches(verb, resource))
            .count()
    }

    /// Waits until the requests satisfy `condition` and returns them. Panics on timeout.
    pub fn wait(
        &self,
        timeout: Duration,
        condition: impl FnMut(&[AuditEntry]) -> bool,
    ) -> Vec<AuditEntry> {
        self.state
            .audit
            .wait(timeout, condition)
            .unwrap_or_else(|| {
                let requests: Vec<_> = self
                    .audit()
                    .iter()
                    .map(|entry| format!("{} {:?}", entry.uri, entry.code))
                    .collect();
                panic!("timeout while waiting for requests; received: {requests:#?}")
            })
    }

    /// The number of running watches of a resource. `*` matches any.
    pub fn watches(&self, resource: &str) -> usize {
        self.state.watches.connections(resource).len()
    }

    /// Closes the connections of all running watches of a resource. `*` matches any.
    pub fn drop_watches(&self, resource: &str) {
        for connection in self.state.watches.connections(resource) {
            connection.close();
        }
    }

    /// Sends a bookmark to all running watches that allow bookmarks.
    pub fn bookmark(&self) {
        self.state
            .bookmark_requests
            .send_modify(|count| *count += 1);
    }

    /// Activates a fault.
    pub fn fault(&self, fault: Fault) -> FaultId {
        self.state.faults.add(fault)
    }

    /// Clears a fault.
    pub fn clear_fault(&self, id: FaultId) {
        self.state.faults.clear(id);
    }

    /// Clears all faults.
    pub fn clear_faults(&self) {
        self.state.faults.clear_all();
    }
}
