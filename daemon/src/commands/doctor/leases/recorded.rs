//! What the ledger says about leases.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::pools::{Lease, dirs_and_sets};
use crate::ledger::{Ledger, Record};

/// What the records say about leases.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// The containers of the records that are not retired.
    pub(super) containers: BTreeSet<String>,
    /// The directories of host-local, with the names of their networks: their definitions may have
    /// been deleted.
    pub(super) pools: BTreeMap<PathBuf, String>,
    pub(super) retired: Vec<RetiredRecord>,
}

/// A retired record.
#[derive(Debug)]
pub(super) struct RetiredRecord {
    pub(super) container: String,
    /// `namespace/name`.
    pub(super) pod: String,
    interfaces: BTreeSet<String>,
}

impl RetiredRecord {
    /// Whether a lease was made for the record.
    pub(super) fn has(&self, lease: &Lease) -> bool {
        let is_of_interface = lease.ifname.is_empty() || self.interfaces.contains(&lease.ifname);
        lease.container == self.container && is_of_interface
    }
}

impl Recorded {
    /// Reads the ledger. A record that cannot be read is left out: the check of records names it.
    pub(super) async fn read(state_dir: PathBuf) -> Self {
        let read = move || {
            let mut recorded = Self::default();
            let records = Ledger::summaries(&state_dir)
                .into_iter()
                .flatten()
                .flatten();
            for summary in records {
                let key = summary.planned.key();
                recorded.containers.insert(key.container_id.clone());
                if let Ok(Some(record)) = Ledger::record_in(&state_dir, &key) {
                    recorded.add_pools(&record);
                }
            }
            for record in Ledger::retired_records(&state_dir).into_iter().flatten() {
                recorded.add_pools(&record);
                recorded.retired.push(RetiredRecord::from(&record));
            }
            recorded
        };
        let recorded = tokio::task::spawn_blocking(read).await;
        recorded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn add_pools(&mut self, record: &Record) {
        for attachment in &record.planned.attachments {
            let dirs = dirs_and_sets(&attachment.config).into_iter();
            let name = &attachment.config.name;
            self.pools.extend(dirs.map(|(dir, _)| (dir, name.clone())));
        }
    }
}

impl From<&Record> for RetiredRecord {
    fn from(record: &Record) -> Self {
        let planned = &record.planned;
        let interfaces = planned.attachments.iter();
        Self {
            container: planned.container_id.clone(),
            pod: planned.pod.to_string(),
            interfaces: interfaces.map(|one| one.ifname.clone()).collect(),
        }
    }
}
