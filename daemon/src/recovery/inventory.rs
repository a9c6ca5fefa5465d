//! The state of the node at the start of a round of recovery. Of each record, only what recovery
//! judges by is kept: there can be thousands.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::netns_scan::existing_netns;
use crate::ledger::{DelFailures, Ledger, LedgerError, Record, RecordKey, SpooledRequest};
use crate::model::{NetnsId, PodRef};

/// The largest number of distinct causes.
const MAX_CAUSES: usize = 20;
/// The longest text of a cause, in characters.
const MAX_TEXT: usize = 300;

pub(super) struct Inventory {
    pub(super) records: Vec<KnownRecord>,
    /// The causes of failed DELs.
    pub(super) causes: FailureCauses,
    /// The keys of files without a record: torn or damaged.
    pub(super) damaged: Vec<RecordKey>,
    /// The errors of other files, and of a spool that cannot be listed. Recovery leaves them unchanged.
    pub(super) unreadable: Vec<LedgerError>,
    pub(super) spooled: Vec<SpooledRequest>,
    /// The network namespaces that still exist, of the sandboxes that may be gone, or the error of
    /// the scan.
    pub(super) existing_netns: io::Result<BTreeSet<NetnsId>>,
}

/// What recovery judges a record by.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact about the record"
)]
pub(super) struct KnownRecord {
    pub(super) key: RecordKey,
    pub(super) pod: PodRef,
    pub(super) created_unix_ms: u64,
    /// The boot in which the sandbox was created.
    pub(super) boot_id: String,
    pub(super) netns: Option<NetnsId>,
    pub(super) completed: bool,
    pub(super) deleting: bool,
    /// Without the text of the error.
    pub(super) del_failures: DelFailures,
    pub(super) status_written: bool,
    pub(super) has_unfinished_change: bool,
    /// The number of refused DELs.
    refusals: u32,
}

impl KnownRecord {
    fn new(record: &Record) -> Self {
        let planned = &record.planned;
        Self {
            key: planned.key(),
            pod: planned.pod.clone(),
            created_unix_ms: planned.created_unix_ms,
            boot_id: planned.boot_id.clone(),
            netns: planned.netns_id,
            completed: record.completed,
            deleting: record.deleting,
            del_failures: DelFailures {
                last_error: String::new(),
                ..record.del_failures
            },
            status_written: record.status_written,
            has_unfinished_change: record.has_unfinished_change(),
            refusals: record.refusals.count,
        }
    }

    /// Whether the record says that the sandbox is gone. A refusal is only recorded after the proof.
    pub(super) fn is_proved_gone(&self) -> bool {
        self.refusals > 0
    }

    pub(super) fn is_attached(&self) -> bool {
        self.completed && !self.deleting
    }

    /// Whether it matters if the sandbox is gone, and this is not proved yet: the sandbox is
    /// attached, or its DEL fails although its ADD never succeeded.
    pub(super) fn needs_proof(&self) -> bool {
        let fails = self.del_failures.count > 0;
        if self.completed {
            !self.deleting && !fails
        } else {
            fails && !self.is_proved_gone()
        }
    }
}

/// The number of records with a failing DEL, by its last error. Texts are shortened, and errors
/// beyond a number of distinct ones are counted together.
#[derive(Debug, Default)]
pub(super) struct FailureCauses(BTreeMap<String, usize>);

impl FailureCauses {
    fn add(&mut self, failures: &DelFailures) {
        if failures.count == 0 {
            return;
        }
        let mut cause: String = failures.last_error.chars().take(MAX_TEXT).collect();
        if cause.len() < failures.last_error.len() {
            cause.push('…');
        }
        if !self.0.contains_key(&cause) && self.0.len() >= MAX_CAUSES {
            "other errors".clone_into(&mut cause);
        }
        *self.0.entry(cause).or_default() += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().map(|(cause, count)| (cause.as_str(), *count))
    }
}

impl Inventory {
    /// Reads the ledger, the spool and `/proc`. Blocking.
    ///
    /// # Errors
    /// [`LedgerError::Io`] if the ledger cannot be listed.
    pub(super) fn collect(ledger: &Ledger, boot_id: &str) -> Result<Self, LedgerError> {
        let (mut records, mut damaged, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        let mut causes = FailureCauses::default();
        for key in ledger.keys()? {
            match ledger.summary(&key) {
                Ok(Some(record)) => {
                    causes.add(&record.del_failures);
                    records.push(KnownRecord::new(&record));
                }
                Ok(None) | Err(LedgerError::Corrupt { .. }) => damaged.push(key),
                Err(error) => unreadable.push(error),
            }
        }
        let spooled = ledger.spooled().unwrap_or_else(|error| {
            unreadable.push(error);
            Vec::new()
        });
        let wanted: BTreeSet<_> = records
            .iter()
            .filter(|record| record.boot_id == boot_id && record.needs_proof())
            .filter_map(|record| record.netns)
            .collect();
        Ok(Self {
            existing_netns: existing_netns(&wanted),
            spooled,
            records,
            causes,
            damaged,
            unreadable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_causes_of_failed_dels_are_counted_and_bounded() {
        let mut causes = FailureCauses::default();
        let failures = |count, error: &str| DelFailures {
            count,
            last_error: error.to_owned(),
            ..DelFailures::default()
        };
        causes.add(&failures(0, "never failed"));
        for _ in 0..3 {
            causes.add(&failures(1, "same"));
        }
        for index in 0..1000 {
            causes.add(&failures(1, &format!("{index} {}", "x".repeat(10_000))));
        }
        let causes: Vec<_> = causes.iter().collect();
        assert_eq!(causes.len(), MAX_CAUSES + 1);
        assert!(causes.contains(&("same", 3)));
        assert!(causes.contains(&("other errors", 1000 - (MAX_CAUSES - 1))));
        assert!(causes.iter().all(|(cause, _)| cause.len() < MAX_TEXT + 10));
    }
}
