//! Plugin executions, and the permits that bound them.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::builder::Builder;
use super::labels::BoundedLabel;
use super::{Metrics, count};

/// The number of plugins with their own series. A definition may name any program in the plugin
/// directories.
pub(super) const MAX_PLUGINS: usize = 32;

#[derive(Debug)]
pub(super) struct PluginMetrics {
    names: BoundedLabel,
    durations: HistogramVec,
    failures: IntCounterVec,
    permits: IntGauge,
    permits_in_use: IntGauge,
    permits_waiting: IntGaugeVec,
}

/// The permits to run plugins, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PermitsReading {
    pub(crate) total: usize,
    pub(crate) in_use: usize,
    /// The calls waiting for a permit: DEL, ADD, recovery.
    pub(crate) waiting: [usize; 3],
}

impl PluginMetrics {
    pub(super) fn new(builder: &Builder) -> Self {
        Self {
            names: BoundedLabel::new(MAX_PLUGINS),
            durations: builder.durations(
                "plexus_plugin_duration_seconds",
                "Duration of plugin executions.",
                &["plugin", "verb"],
            ),
            failures: builder.counter_vec(
                "plexus_plugin_failures_total",
                "Plugin executions that failed.",
                &["plugin", "verb"],
            ),
            permits: builder.gauge(
                "plexus_plugin_permits",
                "Calls that may run plugins at the same time (maxPluginRuns).",
            ),
            permits_in_use: builder.gauge(
                "plexus_plugin_permits_in_use",
                "Calls that are running plugins.",
            ),
            permits_waiting: builder.gauge_vec(
                "plexus_plugin_permits_waiting",
                "Calls waiting for a permit to run plugins.",
                &["priority"],
            ),
        }
    }
}

impl Metrics {
    /// Records an execution of a plugin.
    pub(crate) fn plugin_ran(&self, plugin: &str, verb: &str, duration: Duration, succeeded: bool) {
        let metrics = &self.plugins;
        metrics.names.record(plugin, |plugin| {
            metrics
                .durations
                .with_label_values(&[plugin, verb])
                .observe(duration.as_secs_f64());
            metrics
                .failures
                .with_label_values(&[plugin, verb])
                .inc_by(u64::from(!succeeded));
        });
    }

    pub(crate) fn set_permits(&self, reading: PermitsReading) {
        let PermitsReading {
            total,
            in_use,
            waiting: [del, add, recovery],
        } = reading;
        let metrics = &self.plugins;
        metrics.permits.set(count(total));
        metrics.permits_in_use.set(count(in_use));
        for (priority, waiting) in [("del", del), ("add", add), ("recovery", recovery)] {
            metrics
                .permits_waiting
                .with_label_values(&[priority])
                .set(count(waiting));
        }
    }
}
