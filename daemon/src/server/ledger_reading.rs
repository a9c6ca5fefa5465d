//! The figures of the ledger, from disk.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::unix_ms;
use crate::ledger::{Ledger, LedgerError, Phase};
use crate::telemetry::LedgerReading;

/// The record whose DEL has been failing longest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailingRecord {
    pub(crate) container_id: String,
    pub(crate) ifname: String,
    pub(crate) pod: String,
    /// The time since the first failure.
    pub(crate) failing_seconds: u64,
    pub(crate) failures: u32,
    pub(crate) error: String,
}

/// The figures, and the record whose DEL has been failing longest. Blocking.
pub(crate) fn read_ledger(
    state_dir: &Path,
) -> Result<(LedgerReading, Option<FailingRecord>), LedgerError> {
    let mut reading = LedgerReading {
        quarantined: Ledger::quarantined(state_dir)?,
        retired: Ledger::retired(state_dir)?,
        spooled: Ledger::spooled_files(state_dir)?.len(),
        ..LedgerReading::default()
    };
    let mut oldest = None;
    let now = unix_ms();
    for record in Ledger::summaries(state_dir)? {
        let Ok(record) = record else {
            reading.unreadable += 1;
            continue;
        };
        match record.phase() {
            Phase::Adding => reading.adding += 1,
            Phase::Attached => {
                reading.attached += 1;
                reading.status_pending += usize::from(!record.status_written);
            }
            phase @ (Phase::Deleting | Phase::Orphaned) => {
                let records = if phase == Phase::Orphaned {
                    &mut reading.orphaned
                } else {
                    &mut reading.deleting
                };
                *records += 1;
                let failures = &record.del_failures;
                if failures.count == 0 {
                    continue;
                }
                let since = Duration::from_millis(now.saturating_sub(failures.first_unix_ms));
                if oldest.is_none() || since > reading.oldest_cleanup {
                    reading.oldest_cleanup = since;
                    oldest = Some(FailingRecord {
                        container_id: record.planned.container_id.clone(),
                        ifname: record.planned.ifname.clone(),
                        pod: record.planned.pod.to_string(),
                        failing_seconds: since.as_secs(),
                        failures: failures.count,
                        error: plexus_api::shorten(&failures.last_error),
                    });
                }
            }
        }
    }
    Ok((reading, oldest))
}
