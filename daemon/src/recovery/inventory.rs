//! What recovery finds on the node at one time.

use std::collections::BTreeSet;
use std::io;

use super::netns_scan::living_netns;
use crate::ledger::{Ledger, LedgerError, Record, RecordKey, SpooledRequest};
use crate::model::NetnsId;

pub(super) struct Inventory {
    pub(super) records: Vec<Record>,
    /// The keys of files without a record: torn or damaged.
    pub(super) damaged: Vec<RecordKey>,
    /// Why other files cannot be read. Recovery leaves those files as they are.
    pub(super) unreadable: Vec<LedgerError>,
    pub(super) spooled: Vec<SpooledRequest>,
    /// Those network namespaces of attached sandboxes that exist, or why the scan failed.
    pub(super) living_netns: io::Result<BTreeSet<NetnsId>>,
}

impl Inventory {
    /// Reads ledger, spool and `/proc`. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if ledger or spool cannot be listed.
    pub(super) fn take(ledger: &Ledger, boot_id: &str) -> Result<Self, LedgerError> {
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
            living_netns: living_netns(&wanted),
            spooled: ledger.spooled()?,
            records,
            damaged,
            unreadable,
        })
    }
}
