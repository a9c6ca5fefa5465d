//! Hot-plug: changes of running pods.

use prometheus::{IntCounterVec, IntGauge};

use super::builder::Builder;
use super::{Metrics, count};

#[derive(Debug)]
pub(super) struct HotplugMetrics {
    rounds: IntCounterVec,
    pending: IntGauge,
}

impl HotplugMetrics {
    pub(super) fn new(builder: &Builder) -> Self {
        let rounds = builder.counter_vec(
            "plexus_hotplug_rounds_total",
            "Comparisons of the annotation of a running pod with its networks, by outcome.",
            &["outcome"],
        );
        // Prometheus sees no increase from a series that does not exist yet.
        for outcome in ["unchanged", "changed", "refused", "failed"] {
            rounds.with_label_values(&[outcome]);
        }
        Self {
            rounds,
            pending: builder.gauge(
                "plexus_hotplug_pending_pods",
                "Running pods that do not have the networks of their changed annotation.",
            ),
        }
    }
}

impl Metrics {
    /// Counts a round of hot-plug.
    pub(crate) fn hotplug_round(&self, outcome: &str) {
        self.hotplug.rounds.with_label_values(&[outcome]).inc();
    }

    /// The number of pods whose change is refused or has failed.
    pub(crate) fn hotplug_pending(&self) -> u64 {
        u64::try_from(self.hotplug.pending.get()).unwrap_or_default()
    }

    /// Sets the number of pods whose change is refused or has failed.
    pub(crate) fn set_hotplug_pending(&self, pods: usize) {
        self.hotplug.pending.set(count(pods));
    }
}
