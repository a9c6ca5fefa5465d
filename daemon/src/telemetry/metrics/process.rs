//! The daemon's own process, from `/proc`.

use std::time::SystemTime;

use prometheus::IntGauge;

use super::builder::Builder;
use super::count;

#[derive(Debug)]
pub(super) struct ProcessMetrics {
    resident_memory: IntGauge,
    open_fds: IntGauge,
}

impl ProcessMetrics {
    pub(super) fn new(builder: &Builder) -> Self {
        let metrics = Self {
            resident_memory: builder.gauge(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            ),
            open_fds: builder.gauge("process_open_fds", "Number of open file descriptors."),
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

    /// Updates the metrics.
    pub(super) fn read(&self) {
        if let Some(bytes) = resident_memory() {
            self.resident_memory.set(bytes);
        }
        if let Some(fds) = open_fds() {
            self.open_fds.set(count(fds));
        }
    }
}

/// Resident memory in bytes.
fn resident_memory() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
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
