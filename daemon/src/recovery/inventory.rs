//! The state of the node at the start of a round of recovery.

use std::collections::BTreeSet;
use std::io;

use super::netns_scan::existing_netns;
use crate::ledger::{Ledger, LedgerError, Record, RecordKey, SpooledRequest};
use crate::model::NetnsId;

pub(super) struct Inventory {
    pub(super) records: Vec<Record>,
    /// The keys of files without a record: torn or damaged.
    pub(super) damaged: Vec<RecordKey>,
    /// The errors of other files that cannot be read. Recovery leaves those files unchanged.
    pub(super) unreadable: Vec<LedgerError>,
    pub(super) spooled: Vec<SpooledRequest>,
    /// The network namespaces of attached sandboxes that still exist, or the error of the scan.
    pub(super) existing_netns: io::Result<BTreeSet<NetnsId>>,
}

impl Inventory {
    /// Reads the ledger, the spool and `/proc`. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the ledger or the spool cannot be listed.
    pub(super) fn collect(ledger: &Ledger, boot_id: &str) -> Result<Self, LedgerError> {
        let (mut records, mut damaged, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for key in ledger.keys()? {
            match ledger.read(&key) {
                Ok(Some(record)) => records.push(record),
                Ok(None) | Err(LedgerError::Corrupt { .. }) => damaged.push(key),
                Err(error) => unreadable.push(error),
            }
        }
        let wanted: BTreeSet<_> = records
            .iter()
            .filter(|record| record.planned.boot_id == boot_id && record.is_attached())
            .filter_map(|record| record.planned.netns_id)
            .collect();
        Ok(Self {
            existing_netns: existing_netns(&wanted),
            spooled: ledger.spooled()?,
            records,
            damaged,
            unreadable,
        })
    }
}
