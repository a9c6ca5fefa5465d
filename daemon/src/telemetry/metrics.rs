//! The metrics: one struct that the rooms record in. `docs/metrics.md` says what each means.

mod labels;
mod process;
#[cfg(test)]
mod tests;

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use labels::Labels;

/// From a DEL of what is deleted already to an ADD at the end of its time.
const BUCKETS: [f64; 16] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// How many plugins have series of their own. Whoever writes definitions can make a plugin be run under any name that
/// is in the bin directories.
const PLUGINS: usize = 32;
/// How many error codes have series of their own; a plugin can answer any.
const CODES: usize = 64;

/// The metrics of one daemon.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    codes: Labels,
    plugins: Labels,
    requests: IntCounterVec,
    request_durations: HistogramVec,
    requests_in_flight: IntGaugeVec,
    plugin_durations: HistogramVec,
    plugin_failures: IntCounterVec,
    slots: IntGauge,
    slots_used: IntGauge,
    slots_waiting: IntGaugeVec,
    ledger_readable: IntGauge,
    ledger_records: IntGaugeVec,
    oldest_cleanup: Gauge,
    quarantined: IntGauge,
    spooled: IntGauge,
    cleanups: IntCounterVec,
    disbelieved: IntGauge,
    networks_missing: IntGauge,
    startup_taint: IntGauge,
    status_pending: IntGauge,
    status_overdue: IntGauge,
    events_dropped: IntCounter,
    installation_problems: IntGaugeVec,
    config_restorations: IntCounter,
    api_requests: IntCounterVec,
    api_durations: HistogramVec,
    cache_objects: IntGaugeVec,
    cache_synced: IntGauge,
    cache_age: GaugeVec,
    snapshot_age: Gauge,
    resident_memory: IntGauge,
    open_fds: IntGauge,
    multus_requests: Option<IntCounterVec>,
}

/// The bound on how many calls run plugins, as it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PermitsReading {
    /// How many there are.
    pub(crate) all: usize,
    /// How many of them are held.
    pub(crate) used: usize,
    /// Who waits for one: DEL, ADD, recovery.
    pub(crate) waiting: [usize; 3],
}

/// The ledger and what lies beside it, as they are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LedgerReading {
    /// Records of ADDs that have not ended.
    pub(crate) adding: usize,
    /// Records of sandboxes that are attached.
    pub(crate) attached: usize,
    /// Records whose DEL has begun, or has failed.
    pub(crate) deleting: usize,
    /// Records whose DEL the runtime thinks has succeeded.
    pub(crate) orphaned: usize,
    /// Records that cannot be read.
    pub(crate) unreadable: usize,
    /// Attached sandboxes whose network-status is not written.
    pub(crate) status_pending: usize,
    /// How long the first failed DEL of a record is ago that is still not deleted.
    pub(crate) oldest_cleanup: Duration,
    /// Files in the quarantine.
    pub(crate) quarantined: usize,
    /// DELs in the spool.
    pub(crate) spooled: usize,
}

/// The store of pods and definitions, as it is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CacheReading {
    /// How many pods are known.
    pub(crate) pods: usize,
    /// How many definitions are known.
    pub(crate) definitions: usize,
    /// Whether ADD can be served from it.
    pub(crate) synced: bool,
    /// How long ago the source last said that the pods are as they are known.
    pub(crate) pods_age: Option<Duration>,
    /// The same of the definitions.
    pub(crate) definitions_age: Option<Duration>,
    /// How old the definitions are, where they come from a snapshot.
    pub(crate) snapshot_age: Option<Duration>,
}

/// A call that is being served; it counts as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Metrics of which nothing has been recorded. With `multus`, Multus' own metric is one of them.
    pub(crate) fn new(multus: bool) -> Self {
        let new = Definitions(Registry::new());
        let metrics = Self {
            codes: Labels::new(CODES),
            plugins: Labels::new(PLUGINS),
            requests: new.counters("plexus_requests_total", "CNI calls that were answered.", &["verb", "code"]),
            request_durations: new.histograms(
                "plexus_request_duration_seconds",
                "How long CNI calls took, from the request to the answer.",
                &["verb"],
            ),
            requests_in_flight: new.gauges("plexus_requests_in_flight", "CNI calls that are being served.", &["verb"]),
            plugin_durations: new.histograms(
                "plexus_plugin_duration_seconds",
                "How long plugins ran.",
                &["plugin", "verb"],
            ),
            plugin_failures: new.counters(
                "plexus_plugin_failures_total",
                "Runs of plugins that failed.",
                &["plugin", "verb"],
            ),
            slots: new.gauge("plexus_plugin_slots", "How many calls may run plugins at one time."),
            slots_used: new.gauge("plexus_plugin_slots_used", "How many calls run plugins."),
            slots_waiting: new.gauges(
                "plexus_plugin_slots_waiting",
                "How many calls wait until they may run plugins.",
                &["priority"],
            ),
            ledger_readable: new.gauge("plexus_ledger_readable", "1 where the ledger could be read for this scrape."),
            ledger_records: new.gauges("plexus_ledger_records", "Sandboxes on record.", &["state"]),
            oldest_cleanup: new.seconds(
                "plexus_ledger_oldest_pending_cleanup_seconds",
                "How long ago the first DEL failed of the sandbox that has been waiting longest to be deleted; 0 where \
                 none waits.",
            ),
            quarantined: new.gauge("plexus_ledger_quarantined_files", "Files set aside because they are damaged."),
            spooled: new.gauge("plexus_spool_requests", "DELs that came while no daemon was there and are not done."),
            cleanups: new.counters(
                "plexus_recovery_cleanups_total",
                "What recovery cleaned up, or tried to.",
                &["reason", "outcome"],
            ),
            networks_missing: new.gauge(
                "plexus_pods_without_networks",
                "Pods that run without the networks of their annotation, because they started while Plexus did not serve the node.",
            ),
            startup_taint: new.gauge(
                "plexus_startup_taint_pending",
                "1 while the node may still have its start-up taint, which goes when Plexus works.",
            ),
            disbelieved: new.gauge(
                "plexus_recovery_disbelieved_sandboxes",
                "Sandboxes that look gone and are left alone, because too many do at once.",
            ),
            status_pending: new
                .gauge("plexus_status_writes_pending", "Attached sandboxes whose network-status is not written."),
            status_overdue: new.gauge(
                "plexus_status_write_overdue",
                "1 while the API server leaves a write of network-status unanswered for longer than an ADD waits.",
            ),
            events_dropped: new.counter("plexus_events_dropped_total", "Events that could not be sent."),
            installation_problems: new.gauges(
                "plexus_installation_problems",
                "1 for each kind of problem that there is with what Plexus puts on the node.",
                &["problem"],
            ),
            config_restorations: new.counter(
                "plexus_config_restorations_total",
                "How often the runtime's configuration was put back because another program had taken it away or changed it.",
            ),
            api_requests: new.counters(
                "plexus_api_requests_total",
                "Requests to the Kubernetes API server.",
                &["verb", "resource", "code"],
            ),
            api_durations: new.histograms(
                "plexus_api_request_duration_seconds",
                "How long the Kubernetes API server took to begin its answer.",
                &["verb", "resource"],
            ),
            cache_objects: new.gauges("plexus_cache_objects", "Objects of the cluster that are known.", &["kind"]),
            cache_synced: new.gauge("plexus_cache_synced", "1 once ADD can be served from what is known."),
            cache_age: new.ages(
                "plexus_cache_age_seconds",
                "How long ago the API server last confirmed what is known; with --manifests since the last change.",
                &["kind"],
            ),
            snapshot_age: new.seconds(
                "plexus_cache_snapshot_age_seconds",
                "How old the definitions are while they come from the snapshot on disk; 0 otherwise.",
            ),
            resident_memory: new.gauge("process_resident_memory_bytes", "Resident memory."),
            open_fds: new.gauge("process_open_fds", "Open file descriptors."),
            multus_requests: multus.then(|| {
                new.counters(
                    "multus_server_request_total",
                    "HTTP requests on the socket, as Multus counts them.",
                    &["handler", "code", "method"],
                )
            }),
            registry: new.0.clone(),
        };
        let start = new.seconds(
            "process_start_time_seconds",
            "When the daemon started, in seconds since 1970.",
        );
        start.set(process::now());
        new.gauges(
            "plexus_build_info",
            "1; the version is in the label.",
            &["version"],
        )
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
        metrics.begin_at_zero();
        metrics
    }

    /// A rate over a series that begins with its first failure does not see that one.
    fn begin_at_zero(&self) {
        for verb in ["ADD", "DEL", "CHECK", "STATUS", "GC"] {
            self.requests.with_label_values(&[verb, "0"]);
            self.requests_in_flight.with_label_values(&[verb]);
            self.request_durations.with_label_values(&[verb]);
        }
        for reason in ["unfinished", "begun", "failed", "dead", "spooled"] {
            for outcome in ["done", "failed"] {
                self.cleanups.with_label_values(&[reason, outcome]);
            }
        }
    }

    /// A call of this verb has begun.
    pub(super) fn call_began(&self, verb: &str) -> InFlight {
        let gauge = self.requests_in_flight.with_label_values(&[verb]);
        gauge.inc();
        InFlight(gauge)
    }

    /// A call has been answered with this code, 0 for success.
    pub(super) fn call_ended(&self, verb: &str, code: u32, took: Duration) {
        let code = code.to_string();
        self.codes.bound(&code, |code| {
            self.requests.with_label_values(&[verb, code]).inc();
        });
        self.request_durations
            .with_label_values(&[verb])
            .observe(took.as_secs_f64());
    }

    /// A plugin has run, and whether its run can be used.
    pub(crate) fn plugin_ran(&self, plugin: &str, verb: &str, took: Duration, succeeded: bool) {
        self.plugins.bound(plugin, |plugin| {
            self.plugin_durations
                .with_label_values(&[plugin, verb])
                .observe(took.as_secs_f64());
            self.plugin_failures
                .with_label_values(&[plugin, verb])
                .inc_by(u64::from(!succeeded));
        });
    }

    /// Recovery has dealt with one sandbox, or one DEL of the spool: `reason` is one of those that `begin_at_zero`
    /// has.
    pub(crate) fn cleaned_up(&self, reason: &str, succeeded: bool) {
        self.cleanups
            .with_label_values(&[reason, if succeeded { "done" } else { "failed" }])
            .inc();
    }

    /// So many sandboxes look gone, and are not believed to be.
    pub(crate) fn disbelieved(&self, sandboxes: usize) {
        self.disbelieved.set(count(sandboxes));
    }

    /// The API server has begun to answer a request, or has not (`code` is then a word).
    pub(super) fn api_answered(&self, verb: &str, resource: &str, code: &str, took: Duration) {
        self.api_requests
            .with_label_values(&[verb, resource, code])
            .inc();
        self.api_durations
            .with_label_values(&[verb, resource])
            .observe(took.as_secs_f64());
    }

    /// A request on the socket has been answered, as Multus counts it.
    pub(crate) fn multus_request(&self, handler: &str, code: u16, method: &str) {
        if let Some(requests) = &self.multus_requests {
            requests
                .with_label_values(&[handler, &code.to_string(), &method.to_ascii_lowercase()])
                .inc();
        }
    }

    /// What the slots are now.
    pub(crate) fn set_permits(&self, reading: PermitsReading) {
        let PermitsReading {
            all,
            used,
            waiting: [del, add, recovery],
        } = reading;
        self.slots.set(count(all));
        self.slots_used.set(count(used));
        for (priority, waiting) in [("del", del), ("add", add), ("recovery", recovery)] {
            self.slots_waiting
                .with_label_values(&[priority])
                .set(count(waiting));
        }
    }

    /// What the ledger is now; none where it cannot be read.
    pub(crate) fn set_ledger(&self, reading: Option<LedgerReading>) {
        self.ledger_readable.set(i64::from(reading.is_some()));
        let reading = reading.unwrap_or_default();
        for (state, records) in [
            ("adding", reading.adding),
            ("attached", reading.attached),
            ("deleting", reading.deleting),
            ("orphaned", reading.orphaned),
            ("unreadable", reading.unreadable),
        ] {
            self.ledger_records
                .with_label_values(&[state])
                .set(count(records));
        }
        self.status_pending.set(count(reading.status_pending));
        self.oldest_cleanup
            .set(reading.oldest_cleanup.as_secs_f64());
        self.quarantined.set(count(reading.quarantined));
        self.spooled.set(count(reading.spooled));
    }

    /// What the store is now.
    pub(crate) fn set_cache(&self, reading: CacheReading) {
        self.cache_objects
            .with_label_values(&["pods"])
            .set(count(reading.pods));
        self.cache_objects
            .with_label_values(&["definitions"])
            .set(count(reading.definitions));
        self.cache_synced.set(i64::from(reading.synced));
        for (kind, age) in [
            ("pods", reading.pods_age),
            ("definitions", reading.definitions_age),
        ] {
            if let Some(age) = age {
                self.cache_age
                    .with_label_values(&[kind])
                    .set(age.as_secs_f64());
            }
        }
        self.snapshot_age
            .set(reading.snapshot_age.unwrap_or_default().as_secs_f64());
    }

    /// Whether a write of network-status has not been answered in time, as it is now.
    pub(crate) fn set_status_overdue(&self, overdue: bool) {
        self.status_overdue.set(i64::from(overdue));
    }

    /// How many pods run without the networks that they ask for.
    pub(crate) fn networks_missing(&self, pods: usize) {
        self.networks_missing.set(count(pods));
    }

    /// Whether the node may still have its start-up taint.
    pub(crate) fn startup_taint(&self, pending: bool) {
        self.startup_taint.set(i64::from(pending));
    }

    /// How many events were given up since the start, as it is now.
    pub(crate) fn set_events_dropped(&self, total: u64) {
        self.events_dropped
            .inc_by(total.saturating_sub(self.events_dropped.get()));
    }

    /// Whether there is such a problem with the installation, as it is now.
    pub(crate) fn set_installation_problem(&self, problem: &str, is_there: bool) {
        self.installation_problems
            .with_label_values(&[problem])
            .set(i64::from(is_there));
    }

    /// The runtime's configuration was put back so many times.
    pub(crate) fn config_restored(&self, times: u64) {
        self.config_restorations.inc_by(times);
    }

    /// All of it, in Prometheus' text format. Blocking: it reads a little of `/proc`.
    pub(crate) fn encode(&self) -> String {
        if let Some(bytes) = process::resident_memory() {
            self.resident_memory.set(bytes);
        }
        if let Some(fds) = process::open_fds() {
            self.open_fds.set(count(fds));
        }
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        text
    }
}

/// Makes metrics and registers them.
struct Definitions(Registry);

impl Definitions {
    /// Names and labels are constants here, and a test makes all of them: none is invalid, none is there twice.
    fn add<C: Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("name and labels are valid");
        self.0
            .register(Box::new(collector.clone()))
            .expect("the name is the only one of its kind");
        collector
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn seconds(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    fn ages(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), labels))
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(
            HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()),
            labels,
        ))
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
