//! The daemon's own process, from `/proc`.

use std::time::{Duration, Instant, SystemTime};

use prometheus::IntGauge;

use super::builder::Builder;
use super::count;

#[derive(Debug)]
pub(super) struct ProcessMetrics {
    resident_memory: IntGauge,
    open_fds: IntGauge,
    started: Instant,
}

/// The process, at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProcessReading {
    pub(crate) uptime: Duration,
    /// In bytes. `None` if `/proc` cannot be read.
    pub(crate) resident_memory: Option<u64>,
}

impl ProcessMetrics {
    pub(super) fn new(builder: &Builder) -> Self {
        let metrics = Self {
            resident_memory: builder.gauge(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            ),
            open_fds: builder.gauge("process_open_fds", "Number of open file descriptors."),
            started: Instant::now(),
        };
        let start_time = builder.seconds(
            "process_start_time_seconds",
            "Start time of the process, in seconds since the Unix epoch.",
        );
        start_time.set(unix_time());
        builder
            .gauge_vec(
                "plexus_build_info",
                "Always 1; the label has the version.",
                &["version"],
            )
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        metrics
    }

    /// The current figures. Blocking: reads `/proc`.
    pub(super) fn reading(&self) -> ProcessReading {
        ProcessReading {
            uptime: self.started.elapsed(),
            resident_memory: resident_memory(),
        }
    }

    /// Updates the metrics.
    pub(super) fn read(&self) {
        if let Some(bytes) = resident_memory() {
            self.resident_memory
                .set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        if let Some(fds) = open_fds() {
            self.open_fds.set(count(fds));
        }
    }
}

/// Resident memory in bytes.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The number of open file descriptors, without the one that reads the directory.
fn open_fds() -> Option<usize> {
    Some(
        std::fs::read_dir("/proc/self/fd")
            .ok()?
            .count()
            .saturating_sub(1),
    )
}

/// Seconds since the Unix epoch.
fn unix_time() -> f64 {
    SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap_or_default()
        .as_secs_f64()
}
