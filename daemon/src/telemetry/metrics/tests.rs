use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::calls::MAX_CODES;
use super::plugins::MAX_PLUGINS;
use super::*;

const MS: Duration = Duration::from_millis(3);
const TABLE: &str = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n";

/// All metrics, with at least one series each.
fn all() -> Metrics {
    let metrics = Metrics::new(true);
    drop(metrics.call_started("ADD"));
    metrics.call_finished("ADD", 0, MS);
    metrics.plugin_ran("bridge", "ADD", MS, true);
    metrics.cleaned_up("sandbox_gone", true);
    metrics.set_mass_loss(0);
    metrics.api_request("patch", "pods/status", "200", MS);
    metrics.kubelet_request("Get", "Ok", MS);
    metrics.hotplug_round("changed");
    metrics.multus_request("/cni", 200, "POST");
    metrics.set_permits(PermitsReading::default());
    metrics.set_ledger(Some(LedgerReading::default()));
    metrics.set_status_overdue(false);
    metrics.set_events_dropped(0);
    metrics.set_installation_problem("shim", false);
    metrics.set_unusable_definitions("not_json", 0);
    metrics.set_cache(CacheReading {
        pods_age: Some(MS),
        ..CacheReading::default()
    });
    metrics
}

/// The value of a series, as text.
fn value(metrics: &Metrics, series: &str) -> Option<String> {
    let text = metrics.encode();
    text.lines()
        .find_map(|line| Some(line.strip_prefix(series)?.strip_prefix(' ')?.to_owned()))
}

#[track_caller]
fn assert_value(metrics: &Metrics, series: &str, expected: &str) {
    assert_eq!(
        value(metrics, series).as_deref(),
        Some(expected),
        "{series} in\n{}",
        metrics.encode()
    );
}

#[test]
fn the_page_lists_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .join("docs/metrics.md");
    let page = fs::read_to_string(&path).expect("the page exists");
    let (before, rest) = page.split_once(TABLE).expect("the page has the table");
    let (table, after) = rest.split_once("\n\n").expect("the table ends");
    let expected = table_rows(&all().encode());
    if std::env::var_os("PLEXUS_BLESS").is_some() {
        fs::write(&path, format!("{before}{TABLE}{expected}\n\n{after}"))
            .expect("the page is written");
    } else {
        assert_eq!(
            table, expected,
            "docs/metrics.md does not match the code: run `make metrics` and commit the page"
        );
    }
}

/// The rows of the table, one for each metric in a scrape.
fn table_rows(scrape: &str) -> String {
    let (mut help, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in scrape.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), Some(text)) => drop(help.insert(name, text)),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => drop(kinds.insert(name, kind)),
            _ => {
                let (name, pairs) = line.split_once('{').unwrap_or((line, ""));
                let series = name.split(' ').next().unwrap_or_default();
                let name = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|suffix| series.strip_suffix(suffix))
                    .unwrap_or(series);
                let keys = pairs
                    .split(',')
                    .filter_map(|pair| Some(pair.split_once('=')?.0))
                    .filter(|key| *key != "le");
                labels.entry(name).or_default().extend(keys);
            }
        }
    }
    let mut rows = String::new();
    for (name, kind) in kinds {
        let labels: Vec<_> = labels[name]
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let _ = writeln!(
            rows,
            "| `{name}` | {kind} | {} | {} |",
            labels.join(" "),
            help[name]
        );
    }
    rows.trim_end().to_owned()
}

#[test]
fn names_and_units_follow_the_conventions_of_prometheus() {
    let scrape = all().encode();
    for line in scrape.lines().filter(|line| line.starts_with("# TYPE ")) {
        let mut words = line.split(' ').skip(2);
        let (name, kind) = (words.next().expect("a name"), words.next().expect("a type"));
        let has_prefix = name.starts_with("plexus_") || name.starts_with("process_");
        assert!(
            has_prefix || name == "multus_server_request_total",
            "{name}"
        );
        assert_eq!(
            name.ends_with("_total"),
            kind == "counter",
            "{name} is a {kind}"
        );
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
        assert!(!name.contains("_ms") && !name.contains("milli"), "{name}");
    }
}

#[test]
fn calls_are_counted_by_verb_and_code_and_are_in_flight_until_they_end() {
    let metrics = Metrics::new(false);
    assert_value(
        &metrics,
        r#"plexus_requests_total{code="0",verb="DEL"}"#,
        "0",
    );
    let running = (metrics.call_started("ADD"), metrics.call_started("ADD"));
    assert_value(&metrics, r#"plexus_requests_in_flight{verb="ADD"}"#, "2");
    drop(running.0);
    metrics.call_finished("ADD", 11, Duration::from_millis(30));
    assert_value(&metrics, r#"plexus_requests_in_flight{verb="ADD"}"#, "1");
    assert_value(
        &metrics,
        r#"plexus_requests_total{code="11",verb="ADD"}"#,
        "1",
    );
    assert_value(
        &metrics,
        r#"plexus_request_duration_seconds_bucket{verb="ADD",le="0.025"}"#,
        "0",
    );
    assert_value(
        &metrics,
        r#"plexus_request_duration_seconds_bucket{verb="ADD",le="0.05"}"#,
        "1",
    );
    assert!(
        !metrics.encode().contains("multus_"),
        "only metricsPort enables the metric of Multus"
    );
}

#[test]
fn the_number_of_series_is_bounded() {
    let metrics = Metrics::new(false);
    for number in 0..1000 {
        metrics.plugin_ran(&format!("plugin{number}"), "ADD", MS, number % 2 == 0);
        metrics.call_finished("ADD", number, MS);
    }
    metrics.plugin_ran("plugin3", "ADD", MS, true);
    let scrape = metrics.encode();
    let count = |prefix: &str| {
        scrape
            .lines()
            .filter(|line| line.starts_with(prefix))
            .count()
    };
    assert_eq!(
        count("plexus_plugin_duration_seconds_count{"),
        MAX_PLUGINS + 1
    );
    // The other verbs have a series for code 0.
    assert_eq!(count("plexus_requests_total{"), MAX_CODES + 1 + 4);
    assert_value(
        &metrics,
        r#"plexus_plugin_duration_seconds_count{plugin="plugin3",verb="ADD"}"#,
        "2",
    );
    let others = (1000 - MAX_PLUGINS).to_string();
    assert_value(
        &metrics,
        r#"plexus_plugin_duration_seconds_count{plugin="other",verb="ADD"}"#,
        &others,
    );
    assert_value(
        &metrics,
        r#"plexus_plugin_failures_total{plugin="plugin3",verb="ADD"}"#,
        "1",
    );
}

#[test]
fn a_new_reading_replaces_the_old_one() {
    let metrics = Metrics::new(false);
    metrics.set_ledger(Some(LedgerReading {
        orphaned: 2,
        oldest_cleanup: Duration::from_millis(1500),
        ..LedgerReading::default()
    }));
    metrics.set_permits(PermitsReading {
        total: 4,
        in_use: 4,
        waiting: [1, 2, 3],
    });
    metrics.set_cache(CacheReading {
        pods: 5,
        pods_age: Some(MS),
        snapshot_age: Some(MS),
        ..CacheReading::default()
    });
    for total in [3, 5, 5] {
        metrics.set_events_dropped(total);
    }
    metrics.set_status_overdue(true);
    for (series, expected) in [
        ("plexus_events_dropped_total", "5"),
        ("plexus_network_status_write_overdue", "1"),
        (r#"plexus_ledger_records{state="orphaned"}"#, "2"),
        ("plexus_ledger_oldest_pending_cleanup_seconds", "1.5"),
        ("plexus_ledger_readable", "1"),
        (r#"plexus_plugin_permits_waiting{priority="recovery"}"#, "3"),
        (r#"plexus_cache_objects{kind="pods"}"#, "5"),
        (r#"plexus_cache_age_seconds{kind="pods"}"#, "0.003"),
        ("plexus_cache_snapshot_age_seconds", "0.003"),
    ] {
        assert_value(&metrics, series, expected);
    }
    metrics.set_ledger(None);
    assert_value(&metrics, "plexus_ledger_readable", "0");
    assert_value(&metrics, r#"plexus_ledger_records{state="orphaned"}"#, "0");
}

#[test]
fn process_metrics_have_plausible_values() {
    let metrics = Metrics::new(false);
    let number = |series: &str| {
        value(&metrics, series)
            .and_then(|text| text.parse::<f64>().ok())
            .unwrap_or_default()
    };
    assert!(number("process_resident_memory_bytes") > 1e5);
    assert!(number("process_open_fds") >= 3.0);
    assert!(number("process_start_time_seconds") > 1.7e9);
}
