//! The response to `/metrics`, with values that are read for each scrape.

use std::path::Path;
use std::time::Duration;

use crate::clock::unix_ms;
use crate::context::Context;
use crate::install::ProblemKind;
use crate::ledger::{Ledger, LedgerError, Phase};
use crate::telemetry::LedgerReading;

/// All metrics in Prometheus' text format, with current values of permits, caches, installation and
/// ledger.
pub(super) async fn scrape(context: &Context) -> String {
    let metrics = context.node.metrics.clone();
    let state_dir = context.node.settings.state_dir.clone();
    metrics.set_permits(context.node.delegates.permits());
    metrics.set_cache(context.node.store.reading());
    metrics.set_status_overdue(context.reporter.is_overdue());
    metrics.set_events_dropped(context.reporter.events_dropped());
    let install_status = context.install_status.get();
    for kind in ProblemKind::ALL {
        metrics.set_installation_problem(kind.name(), install_status.has(kind));
    }
    let text = tokio::task::spawn_blocking(move || {
        let reading = read_ledger(&state_dir);
        if let Err(error) = &reading {
            tracing::warn!(%error, "the ledger cannot be read, so its metrics are missing");
        }
        metrics.set_ledger(reading.ok());
        metrics.encode()
    });
    text.await.unwrap_or_default()
}

fn read_ledger(state_dir: &Path) -> Result<LedgerReading, LedgerError> {
    let mut reading = LedgerReading {
        quarantined: Ledger::quarantined(state_dir)?,
        retired: Ledger::retired(state_dir)?,
        spooled: Ledger::spooled_files(state_dir)?.len(),
        ..LedgerReading::default()
    };
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
                if failures.count > 0 {
                    let since = Duration::from_millis(now.saturating_sub(failures.first_unix_ms));
                    reading.oldest_cleanup = reading.oldest_cleanup.max(since);
                }
            }
        }
    }
    Ok(reading)
}
