//! CNI calls, and requests on the socket.

use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::Metrics;
use super::builder::Builder;
use super::labels::BoundedLabel;

/// The number of error codes with their own series. Plugins may return any code.
pub(super) const MAX_CODES: usize = 64;

#[derive(Debug)]
pub(super) struct CallMetrics {
    codes: BoundedLabel,
    total: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGaugeVec,
    multus_requests: Option<IntCounterVec>,
}

impl CallMetrics {
    pub(super) fn new(builder: &Builder, multus: bool) -> Self {
        let metrics = Self {
            codes: BoundedLabel::new(MAX_CODES),
            total: builder.counter_vec(
                "plexus_requests_total",
                "CNI calls answered, by error code; code 0 is success.",
                &["verb", "code"],
            ),
            durations: builder.durations(
                "plexus_request_duration_seconds",
                "Duration of CNI calls, from request to answer.",
                &["verb"],
            ),
            in_flight: builder.gauge_vec(
                "plexus_requests_in_flight",
                "CNI calls being served.",
                &["verb"],
            ),
            multus_requests: multus.then(|| {
                builder.counter_vec(
                    "multus_server_request_total",
                    "HTTP requests on the socket, counted as Multus does.",
                    &["handler", "code", "method"],
                )
            }),
        };
        // A rate misses the first increment of a series that does not start at zero.
        for verb in ["ADD", "DEL", "CHECK", "STATUS", "GC"] {
            metrics.total.with_label_values(&[verb, "0"]);
            metrics.in_flight.with_label_values(&[verb]);
            metrics.durations.with_label_values(&[verb]);
        }
        metrics
    }
}

/// A call that is being served. Counts as in flight until dropped.
#[derive(Debug)]
pub(in crate::telemetry) struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Records the start of a call.
    pub(in crate::telemetry) fn call_started(&self, verb: &str) -> InFlight {
        let gauge = self.calls.in_flight.with_label_values(&[verb]);
        gauge.inc();
        InFlight(gauge)
    }

    /// Records the end of a call. `code` is 0 for success.
    pub(in crate::telemetry) fn call_finished(&self, verb: &str, code: u32, duration: Duration) {
        self.calls.codes.record(&code.to_string(), |code| {
            self.calls.total.with_label_values(&[verb, code]).inc();
        });
        self.calls
            .durations
            .with_label_values(&[verb])
            .observe(duration.as_secs_f64());
    }

    /// Records the answer to an HTTP request on the socket, if Multus' metric is enabled.
    pub(crate) fn multus_request(&self, handler: &str, code: u16, method: &str) {
        if let Some(requests) = &self.calls.multus_requests {
            requests
                .with_label_values(&[handler, &code.to_string(), &method.to_ascii_lowercase()])
                .inc();
        }
    }
}
