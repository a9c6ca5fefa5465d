//! The metrics. `docs/metrics.md` describes each of them.
//!
//! Only this module and its submodules use the Prometheus library. Each file has the metrics of one
//! subject: their names, help texts, and the methods of [`Metrics`] that record them.

mod builder;
mod calls;
mod cluster;
mod hotplug;
mod kubelet;
mod labels;
mod ledger;
mod node;
mod plugins;
mod process;
#[cfg(test)]
mod tests;

use prometheus::{Registry, TextEncoder};

use builder::Builder;
use calls::CallMetrics;
pub(crate) use cluster::CacheReading;
use cluster::ClusterMetrics;
use hotplug::HotplugMetrics;
use kubelet::KubeletMetrics;
use ledger::LedgerMetrics;
pub(crate) use ledger::LedgerReading;
use node::NodeMetrics;
pub(crate) use plugins::PermitsReading;
use plugins::PluginMetrics;
use process::ProcessMetrics;
pub(crate) use process::ProcessReading;

/// The metrics of one daemon.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    calls: CallMetrics,
    plugins: PluginMetrics,
    ledger: LedgerMetrics,
    cluster: ClusterMetrics,
    kubelet: KubeletMetrics,
    hotplug: HotplugMetrics,
    node: NodeMetrics,
    process: ProcessMetrics,
}

impl Metrics {
    /// Creates the metrics, with nothing recorded. `multus` adds the metric of Multus.
    pub(crate) fn new(multus: bool) -> Self {
        let builder = Builder::default();
        Self {
            calls: CallMetrics::new(&builder, multus),
            plugins: PluginMetrics::new(&builder),
            ledger: LedgerMetrics::new(&builder),
            cluster: ClusterMetrics::new(&builder),
            kubelet: KubeletMetrics::new(&builder),
            hotplug: HotplugMetrics::new(&builder),
            node: NodeMetrics::new(&builder),
            process: ProcessMetrics::new(&builder),
            registry: builder.into_registry(),
        }
    }

    /// The figures of this process. Blocking: reads `/proc`.
    pub(crate) fn process(&self) -> ProcessReading {
        self.process.reading()
    }

    /// All metrics in Prometheus' text format. Blocking: reads `/proc`.
    pub(crate) fn encode(&self) -> String {
        self.process.read();
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "cannot encode the metrics");
        }
        text
    }
}

/// The value of a gauge that counts something.
fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
