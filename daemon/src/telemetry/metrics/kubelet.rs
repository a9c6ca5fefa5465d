//! Requests to kubelet.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec};

use super::Metrics;
use super::builder::Builder;

#[derive(Debug)]
pub(super) struct KubeletMetrics {
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl KubeletMetrics {
    pub(super) fn new(builder: &Builder) -> Self {
        Self {
            requests: builder.counter_vec(
                "plexus_kubelet_requests_total",
                "Requests for devices to kubelet's pod-resources API, by gRPC status code.",
                &["method", "code"],
            ),
            durations: builder.durations(
                "plexus_kubelet_request_duration_seconds",
                "Duration of requests to kubelet's pod-resources API.",
                &["method"],
            ),
        }
    }
}

impl Metrics {
    /// Records a request to kubelet. `code` is the name of the gRPC status code.
    pub(crate) fn kubelet_request(&self, method: &str, code: &str, duration: Duration) {
        let metrics = &self.kubelet;
        metrics.requests.with_label_values(&[method, code]).inc();
        metrics
            .durations
            .with_label_values(&[method])
            .observe(duration.as_secs_f64());
    }
}
