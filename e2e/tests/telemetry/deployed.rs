//! `deploy/observability` and `docs/metrics.md` match the metrics of a running daemon.

use std::collections::{BTreeMap, BTreeSet};

use plexus_e2e::kubelet::{Container, Device, Pod};
use plexus_e2e::workspace::read;
use plexus_e2e::{Cluster, Node, Plexus, PlexusInCluster, Script, attaches, node};
use plexusd::ProblemKind;
use serde_json::{Value, json};

use crate::alerts::{ALERTS, yaml};
use crate::scrape;

/// Labels that Prometheus adds, or that belong to histograms.
const ADDED: [&str; 3] = ["instance", "job", "le"];

/// The labels of each metric that `docs/metrics.md` lists.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let between = |text: &str| {
        text.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let page = read("docs/metrics.md");
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `") && line.split('|').count() == 6);
    let cells = rows.map(|row| row.split('|').map(between).collect::<Vec<_>>());
    cells
        .map(|cells| (cells[1][0].clone(), cells[3].iter().cloned().collect()))
        .collect()
}

/// The names of the metrics of a daemon with an API server.
fn metrics_in_cluster(node: &Node) -> BTreeSet<String> {
    let cluster = Cluster::new();
    let metrics = PlexusInCluster::start(node, &cluster).daemon.metrics();
    let list = r#"plexus_api_requests_total{code="200",resource="pods""#;
    assert!(
        metrics.lines().any(|line| line.starts_with(list)),
        "{metrics}"
    );
    names(&metrics)
}

/// The names of the metrics in a scrape.
fn names(scrape: &str) -> BTreeSet<String> {
    let types = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect()
}

/// The names of the metrics after successful and failed calls.
fn metrics_after_calls(plexus: &Plexus<'_>) -> BTreeSet<String> {
    plexus.network("lan", &attaches());
    let (_, target) = plexus.attached("web", "lan");
    plexus
        .node
        .plugin("lan", &Script::new().fails("DEL", 123, "no"));
    plexus.runtime.del(&target).expect_code(123);
    names(&scrape(plexus))
}

/// The expressions of the dashboard and of the alerts.
fn expressions() -> Vec<String> {
    let dashboard: Value =
        serde_json::from_str(&read("deploy/observability/grafana-dashboard.json")).expect("JSON");
    let mut found = Vec::new();
    let mut left = vec![dashboard, yaml(ALERTS)];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match value {
                        Value::String(text) if key == "expr" || key == "query" => found.push(text),
                        value => left.push(value),
                    }
                }
            }
            Value::Array(values) => left.extend(values),
            _ => {}
        }
    }
    found
}

/// The names of the metrics after a pod got a device.
fn metrics_after_devices(node: &Node) -> BTreeSet<String> {
    const RESOURCE: &str = "example.com/vf";
    let (kubelet, plexus) = (node.kubelet(), Plexus::start(node));
    plexus.device_networks(&[("lan", RESOURCE)]);
    let container = Container::new("app").device(Device::new(RESOURCE, "v1"));
    kubelet.run(Pod::new("default", "web").with(container));
    plexus.attached("web", "lan");
    names(&scrape(&plexus))
}

/// The metrics in an expression, each with the labels of its matchers.
fn named(expression: &str) -> Vec<(String, Vec<String>)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for prefix in ["plexus_", "process_", "multus_"] {
        for (at, _) in expression.match_indices(prefix) {
            if expression[..at].ends_with(word) {
                continue;
            }
            let rest = &expression[at..];
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let matchers = rest[end..]
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'))
                .map_or("", |parts| parts.0);
            let labels = matchers
                .split(',')
                .filter_map(|matcher| matcher.split_once(['=', '!']))
                .map(|pair| pair.0);
            let name = &rest[..end];
            let name = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name);
            found.push((
                name.to_owned(),
                labels.map(|label| label.trim().to_owned()).collect(),
            ));
        }
    }
    found
}

/// The labels in `by (…)` clauses of an expression.
fn kept(expression: &str) -> Vec<String> {
    let lists = expression
        .match_indices("by (")
        .filter_map(|(at, by)| expression[at + by.len()..].split_once(')'));
    lists
        .flat_map(|(list, _)| list.split(',').map(|label| label.trim().to_owned()))
        .collect()
}

#[test]
fn dashboard_and_alerts_use_metrics_and_labels_that_exist() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let (documented, mut existing) = (documented(), metrics_after_calls(&plexus));
    existing.extend(metrics_in_cluster(&node!()));
    existing.extend(metrics_after_devices(&node!()));
    let expressions = expressions();
    assert!(expressions.len() > 30, "{expressions:?}");
    for expression in expressions {
        let (metrics, kept) = (named(&expression), kept(&expression));
        for (name, matched) in &metrics {
            assert!(existing.contains(name), "no metric {name}: {expression}");
            for label in matched {
                let known = documented[name].contains(label) || ADDED.contains(&label.as_str());
                assert!(known, "{name} has no label {label}: {expression}");
            }
        }
        for label in kept {
            let known = ADDED.contains(&label.as_str())
                || metrics
                    .iter()
                    .all(|(name, _)| documented[name].contains(&label));
            assert!(known, "no label {label}: {expression}");
        }
    }
}

#[test]
fn installation_problems_are_documented_and_alerts_use_existing_ones() {
    let known: BTreeSet<_> = ProblemKind::ALL
        .iter()
        .map(|kind| kind.name().to_owned())
        .collect();
    assert_eq!(known.len(), ProblemKind::ALL.len());
    let page = read("docs/metrics.md");
    let (_, text) = page
        .split_once("- `problem`: ")
        .expect("the label is documented");
    let text = text.split("\n\n").next().unwrap_or_default();
    for name in &known {
        assert!(
            text.contains(&format!("`{name}`")),
            "docs/metrics.md does not have {name}"
        );
    }
    let expressions = expressions();
    let named = expressions
        .iter()
        .flat_map(|text| text.split(r#"problem=""#).skip(1));
    let named: BTreeSet<_> = named
        .filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()))
        .collect();
    assert!(!named.is_empty() && named.is_subset(&known), "{named:?}");
}

#[test]
fn every_metric_of_a_daemon_is_documented() {
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"metricsPort": 9037}));
    let documented = documented();
    for name in metrics_after_calls(&plexus) {
        assert!(
            documented.contains_key(&name),
            "docs/metrics.md does not have {name}"
        );
    }
}

#[test]
fn parses_names_and_labels_of_expressions() {
    let found = named(
        r#"sum by (a) (rate(plexus_x_bucket{a="1",b!~"2"}[5m])) / on (a) plexus_y and not_plexus_z"#,
    );
    let expected = [("plexus_x", vec!["a", "b"]), ("plexus_y", vec![])];
    let expected = expected.map(|(name, labels)| {
        (
            name.to_owned(),
            labels.into_iter().map(str::to_owned).collect(),
        )
    });
    assert_eq!(found, expected);
    assert_eq!(kept("sum by (a, b) (x) / max by (c) (y)"), ["a", "b", "c"]);
}
