//! The node: installation, start-up taint, and reports about its pods.

use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use super::builder::Builder;
use super::{Metrics, count};

#[derive(Debug)]
pub(super) struct NodeMetrics {
    installation_problems: IntGaugeVec,
    config_restorations: IntCounter,
    startup_taint: IntGauge,
    networks_missing: IntGauge,
    status_overdue: IntGauge,
    events_dropped: IntCounter,
}

impl NodeMetrics {
    pub(super) fn new(builder: &Builder) -> Self {
        Self {
            installation_problems: builder.gauge_vec(
                "plexus_installation_problems",
                "1 if the installation on the node has this problem, 0 otherwise.",
                &["problem"],
            ),
            config_restorations: builder.counter(
                "plexus_config_restorations_total",
                "Times that the runtime's configuration was restored after another program had removed or changed it.",
            ),
            startup_taint: builder.gauge(
                "plexus_startup_taint_pending",
                "1 while the node may still have its start-up taint, which plexusd removes once Plexus works; 0 otherwise.",
            ),
            networks_missing: builder.gauge(
                "plexus_pods_without_networks",
                "Running pods without the networks of their annotation, because they started while Plexus did not serve \
                 the node.",
            ),
            status_overdue: builder.gauge(
                "plexus_network_status_write_overdue",
                "1 while a write of network-status has failed, or has been unanswered for longer than statusWait, and the API \
                 server has answered no other write since; 0 otherwise.",
            ),
            events_dropped: builder.counter(
                "plexus_events_dropped_total",
                "Kubernetes events that could not be sent.",
            ),
        }
    }
}

impl Metrics {
    pub(crate) fn set_installation_problem(&self, problem: &str, exists: bool) {
        self.node
            .installation_problems
            .with_label_values(&[problem])
            .set(i64::from(exists));
    }

    /// Records further restorations of the runtime's configuration.
    pub(crate) fn config_restored(&self, times: u64) {
        self.node.config_restorations.inc_by(times);
    }

    /// Sets whether the node may still have its start-up taint.
    pub(crate) fn set_startup_taint(&self, pending: bool) {
        self.node.startup_taint.set(i64::from(pending));
    }

    /// Sets the number of pods that run without the networks of their annotation.
    pub(crate) fn set_networks_missing(&self, pods: usize) {
        self.node.networks_missing.set(count(pods));
    }

    /// Sets whether a write of network-status is overdue.
    pub(crate) fn set_status_overdue(&self, overdue: bool) {
        self.node.status_overdue.set(i64::from(overdue));
    }

    /// Sets the number of events dropped since the start.
    pub(crate) fn set_events_dropped(&self, total: u64) {
        let new = total.saturating_sub(self.node.events_dropped.get());
        self.node.events_dropped.inc_by(new);
    }
}
