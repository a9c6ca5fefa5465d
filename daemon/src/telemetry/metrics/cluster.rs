//! The API server: requests to it, and the cache of its objects.

use std::time::Duration;

use prometheus::{Gauge, GaugeVec, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::builder::Builder;
use super::{Metrics, count};

#[derive(Debug)]
pub(super) struct ClusterMetrics {
    requests: IntCounterVec,
    request_durations: HistogramVec,
    objects: IntGaugeVec,
    synced: IntGauge,
    age: GaugeVec,
    snapshot_age: Gauge,
    unusable_definitions: IntGaugeVec,
}

/// The cache of pods and definitions, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CacheReading {
    pub(crate) pods: usize,
    pub(crate) definitions: usize,
    /// `ResourceSlices`.
    pub(crate) slices: usize,
    /// Whether the cache can serve ADD.
    pub(crate) synced: bool,
    /// The time since the source last confirmed the pods.
    pub(crate) pods_age: Option<Duration>,
    /// The time since the source last confirmed the definitions.
    pub(crate) definitions_age: Option<Duration>,
    /// The time since the source last confirmed the `ResourceSlices`. `None` without DRA.
    pub(crate) slices_age: Option<Duration>,
    /// The age of the snapshot that the definitions come from, if any.
    pub(crate) snapshot_age: Option<Duration>,
}

impl ClusterMetrics {
    pub(super) fn new(builder: &Builder) -> Self {
        Self {
            requests: builder.counter_vec(
                "plexus_api_requests_total",
                "Requests to the Kubernetes API server.",
                &["verb", "resource", "code"],
            ),
            request_durations: builder.durations(
                "plexus_api_request_duration_seconds",
                "Time until the response headers of a request to the Kubernetes API server arrived.",
                &["verb", "resource"],
            ),
            objects: builder.gauge_vec("plexus_cache_objects", "Objects in the cache.", &["kind"]),
            synced: builder.gauge(
                "plexus_cache_synced",
                "1 once the cache is complete enough to serve ADD, 0 before.",
            ),
            age: builder.seconds_vec(
                "plexus_cache_age_seconds",
                "Time since the API server last confirmed the cached objects; with --manifests, time since their last \
                 change.",
                &["kind"],
            ),
            snapshot_age: builder.seconds(
                "plexus_cache_snapshot_age_seconds",
                "Age of the snapshot on disk while it serves the definitions; 0 otherwise.",
            ),
            unusable_definitions: builder.gauge_vec(
                "plexus_definitions_unusable",
                "Network-attachment-definitions whose spec.config no pod can use, by reason. Every node counts all of them.",
                &["reason"],
            ),
        }
    }
}

impl Metrics {
    /// Records a request to the API server. `code` is the HTTP status, or a word if there was no
    /// response.
    pub(in crate::telemetry) fn api_request(
        &self,
        verb: &str,
        resource: &str,
        code: &str,
        duration: Duration,
    ) {
        self.cluster
            .requests
            .with_label_values(&[verb, resource, code])
            .inc();
        self.cluster
            .request_durations
            .with_label_values(&[verb, resource])
            .observe(duration.as_secs_f64());
    }

    pub(crate) fn set_unusable_definitions(&self, reason: &str, number: usize) {
        self.cluster
            .unusable_definitions
            .with_label_values(&[reason])
            .set(count(number));
    }

    pub(crate) fn set_cache(&self, reading: CacheReading) {
        let metrics = &self.cluster;
        for (kind, objects, age) in [
            ("pods", reading.pods, reading.pods_age),
            ("definitions", reading.definitions, reading.definitions_age),
        ] {
            metrics
                .objects
                .with_label_values(&[kind])
                .set(count(objects));
            if let Some(age) = age {
                metrics
                    .age
                    .with_label_values(&[kind])
                    .set(age.as_secs_f64());
            }
        }
        if let Some(age) = reading.slices_age {
            metrics
                .objects
                .with_label_values(&["slices"])
                .set(count(reading.slices));
            metrics
                .age
                .with_label_values(&["slices"])
                .set(age.as_secs_f64());
        }
        metrics.synced.set(i64::from(reading.synced));
        metrics
            .snapshot_age
            .set(reading.snapshot_age.unwrap_or_default().as_secs_f64());
    }
}
