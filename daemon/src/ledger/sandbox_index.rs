//! The creation order of the sandboxes that have records. The network-status of a pod is that of
//! its newest sandbox.

use std::collections::HashMap;

use super::format::Planned;
use super::{Ledger, RecordKey};
use crate::mutex::lock;

#[derive(Debug, Default)]
pub(super) struct SandboxIndex(HashMap<RecordKey, SandboxEntry>);

#[derive(Debug)]
struct SandboxEntry {
    /// Namespace and name, without the UID, which older runtimes do not pass. Two pods with the
    /// same name never exist at the same time, so the order applies to their sandboxes as well.
    pod: (String, String),
    boot_id: String,
    boottime_ns: Option<u64>,
    unix_ms: u64,
}

impl From<&Planned> for SandboxEntry {
    fn from(planned: &Planned) -> Self {
        Self {
            pod: (planned.pod.namespace.clone(), planned.pod.name.clone()),
            boot_id: planned.boot_id.clone(),
            boottime_ns: planned.created_boottime_ns,
            unix_ms: planned.created_unix_ms,
        }
    }
}

impl SandboxEntry {
    /// The position in the creation order. Sandboxes of this boot are newer than all of earlier
    /// boots. The wall clock, which may be set, decides only if the time since boot does not.
    fn position(&self, boot_id: &str) -> (bool, Option<u64>, u64) {
        (self.boot_id == boot_id, self.boottime_ns, self.unix_ms)
    }
}

impl SandboxIndex {
    pub(super) fn insert(&mut self, planned: &Planned) {
        self.0.insert(planned.key(), planned.into());
    }

    pub(super) fn remove(&mut self, key: &RecordKey) {
        self.0.remove(key);
    }

    fn is_newest(&self, entry: &SandboxEntry, boot_id: &str) -> bool {
        let mut of_pod = self.0.values().filter(|other| other.pod == entry.pod);
        !of_pod.any(|other| other.position(boot_id) > entry.position(boot_id))
    }

    fn newest(&self, namespace: &str, name: &str, boot_id: &str) -> Option<&RecordKey> {
        let of_pod = self
            .0
            .iter()
            .filter(|(_, entry)| entry.pod.0 == namespace && entry.pod.1 == name);
        let newest = of_pod.max_by_key(|(_, entry)| entry.position(boot_id));
        newest.map(|(key, _)| key)
    }
}

impl Ledger {
    /// The record of the newest sandbox with this container ID. `boot_id` is the current boot. Never
    /// blocks.
    pub(crate) fn sandbox_of(&self, container_id: &str, boot_id: &str) -> Option<RecordKey> {
        let sandboxes = lock(&self.0.sandboxes);
        let of_container = sandboxes.0.iter();
        let of_container = of_container.filter(|(key, _)| key.container_id == container_id);
        let newest = of_container.max_by_key(|(_, entry)| entry.position(boot_id));
        newest.map(|(key, _)| key.clone())
    }

    /// Whether no newer sandbox of the pod of `planned` has a record. `boot_id` is the current
    /// boot. Never blocks.
    pub(crate) fn is_newest(&self, planned: &Planned, boot_id: &str) -> bool {
        lock(&self.0.sandboxes).is_newest(&planned.into(), boot_id)
    }

    /// The record of the newest sandbox of a pod. `boot_id` is the current boot. Never blocks.
    pub(crate) fn newest_sandbox(
        &self,
        namespace: &str,
        name: &str,
        boot_id: &str,
    ) -> Option<RecordKey> {
        let sandboxes = lock(&self.0.sandboxes);
        sandboxes.newest(namespace, name, boot_id).cloned()
    }
}

#[cfg(test)]
mod tests;
