//! The ledger, the files beside it, and recovery.

use std::time::Duration;

use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec};

use super::builder::Builder;
use super::{Metrics, count};

#[derive(Debug)]
pub(super) struct LedgerMetrics {
    readable: IntGauge,
    records: IntGaugeVec,
    oldest_cleanup: Gauge,
    quarantined: IntGauge,
    retired: IntGauge,
    spooled: IntGauge,
    cleanups: IntCounterVec,
    mass_loss: IntGauge,
    status_pending: IntGauge,
}

/// The ledger and the files beside it, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LedgerReading {
    /// Records of unfinished ADDs.
    pub(crate) adding: usize,
    /// Records of attached sandboxes.
    pub(crate) attached: usize,
    /// Records with a DEL that has started, or has failed.
    pub(crate) deleting: usize,
    /// Records with a failed DEL that was reported to the runtime as a success.
    pub(crate) orphaned: usize,
    /// Records that cannot be read.
    pub(crate) unreadable: usize,
    /// Attached sandboxes without a written network-status.
    pub(crate) status_pending: usize,
    /// The time since the first failed DEL of the record that has been waiting longest.
    pub(crate) oldest_cleanup: Duration,
    /// Files in the quarantine.
    pub(crate) quarantined: usize,
    /// Retired records.
    pub(crate) retired: usize,
    /// DELs in the spool.
    pub(crate) spooled: usize,
}

impl LedgerMetrics {
    pub(super) fn new(builder: &Builder) -> Self {
        let metrics = Self {
            readable: builder.gauge(
                "plexus_ledger_readable",
                "1 if the ledger could be read for this scrape, 0 otherwise.",
            ),
            records: builder.gauge_vec(
                "plexus_ledger_records",
                "Sandboxes with a record in the ledger.",
                &["state"],
            ),
            oldest_cleanup: builder.seconds(
                "plexus_ledger_oldest_pending_cleanup_seconds",
                "Time since the first failed DEL of the sandbox that has been waiting longest for its cleanup; 0 if no \
                 sandbox is waiting.",
            ),
            quarantined: builder.gauge(
                "plexus_ledger_quarantined_files",
                "Damaged files in the quarantine directory.",
            ),
            retired: builder.gauge(
                "plexus_ledger_retired_records",
                "Records whose DEL could never succeed, so that plexusd stopped retrying it. They are kept for 30 days.",
            ),
            spooled: builder.gauge(
                "plexus_spool_requests",
                "DELs that arrived while no daemon was running and have not succeeded yet.",
            ),
            cleanups: builder.counter_vec(
                "plexus_recovery_cleanups_total",
                "Cleanups attempted by recovery.",
                &["reason", "outcome"],
            ),
            mass_loss: builder.gauge(
                "plexus_recovery_mass_loss_sandboxes",
                "Sandboxes that look gone but are not cleaned up, because too many look gone at once; 0 otherwise.",
            ),
            status_pending: builder.gauge(
                "plexus_network_status_writes_pending",
                "Attached sandboxes whose network-status is not written yet.",
            ),
        };
        // A rate misses the first increment of a series that does not start at zero.
        for reason in [
            "unfinished_add",
            "unfinished_del",
            "failed_del",
            "sandbox_gone",
            "spooled_del",
        ] {
            for outcome in ["done", "failed"] {
                metrics.cleanups.with_label_values(&[reason, outcome]);
            }
        }
        metrics
    }
}

impl Metrics {
    /// Records that recovery has cleaned up one sandbox or served one spooled DEL, or has tried to.
    /// `reason` is one of the reasons in `LedgerMetrics::new`.
    pub(crate) fn cleaned_up(&self, reason: &str, succeeded: bool) {
        let outcome = if succeeded { "done" } else { "failed" };
        self.ledger
            .cleanups
            .with_label_values(&[reason, outcome])
            .inc();
    }

    /// Sets the number of sandboxes that are not cleaned up because too many look gone at once.
    pub(crate) fn set_mass_loss(&self, sandboxes: usize) {
        self.ledger.mass_loss.set(count(sandboxes));
    }

    /// Sets the metrics of the ledger. `None` means that the ledger cannot be read.
    pub(crate) fn set_ledger(&self, reading: Option<LedgerReading>) {
        let metrics = &self.ledger;
        metrics.readable.set(i64::from(reading.is_some()));
        let reading = reading.unwrap_or_default();
        for (state, records) in [
            ("adding", reading.adding),
            ("attached", reading.attached),
            ("deleting", reading.deleting),
            ("orphaned", reading.orphaned),
            ("unreadable", reading.unreadable),
        ] {
            metrics
                .records
                .with_label_values(&[state])
                .set(count(records));
        }
        metrics.status_pending.set(count(reading.status_pending));
        metrics
            .oldest_cleanup
            .set(reading.oldest_cleanup.as_secs_f64());
        metrics.quarantined.set(count(reading.quarantined));
        metrics.retired.set(count(reading.retired));
        metrics.spooled.set(count(reading.spooled));
    }
}
