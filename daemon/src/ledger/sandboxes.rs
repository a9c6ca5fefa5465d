//! Which sandboxes of a pod have records, and in which order they came: the newest one's network-status is the pod's.

use std::collections::HashMap;

use super::record::Planned;
use super::{Key, Ledger};
use crate::mutex::lock;

/// What decides about each record.
#[derive(Debug, Default)]
pub(super) struct Sandboxes(HashMap<Key, Sandbox>);

#[derive(Debug)]
struct Sandbox {
    pod: (String, String),
    boot_id: String,
    boottime_ns: Option<u64>,
    unix_ms: u64,
}

impl From<&Planned> for Sandbox {
    fn from(planned: &Planned) -> Self {
        Self {
            // Without the UID, which older runtimes do not say. Two pods of one name come one after the other as well.
            pod: (planned.pod.namespace.clone(), planned.pod.name.clone()),
            boot_id: planned.boot_id.clone(),
            boottime_ns: planned.created_boottime_ns,
            unix_ms: planned.created_unix_ms,
        }
    }
}

impl Sandbox {
    /// Grows with each sandbox. What is of this boot is newer than all of an earlier one. The clock of the calendar,
    /// which is set forth and back, speaks only where the one of the boot does not.
    fn order(&self, boot_id: &str) -> (bool, Option<u64>, u64) {
        (self.boot_id == boot_id, self.boottime_ns, self.unix_ms)
    }
}

impl Sandboxes {
    pub(super) fn insert(&mut self, planned: &Planned) {
        self.0.insert(
            (planned.container_id.clone(), planned.ifname.clone()),
            planned.into(),
        );
    }

    pub(super) fn remove(&mut self, key: &Key) {
        self.0.remove(key);
    }

    fn is_newest(&self, sandbox: &Sandbox, boot_id: &str) -> bool {
        let mut of_pod = self.0.values().filter(|other| other.pod == sandbox.pod);
        !of_pod.any(|other| other.order(boot_id) > sandbox.order(boot_id))
    }
}

impl Ledger {
    /// Whether no newer sandbox of the pod of `planned` has a record, during the boot `boot_id`. Never waits.
    pub(crate) fn is_newest(&self, planned: &Planned, boot_id: &str) -> bool {
        lock(&self.0.sandboxes).is_newest(&planned.into(), boot_id)
    }
}

#[cfg(test)]
mod tests;
