//! The alert rules, their tests, and their runbooks.

use std::io::ErrorKind;
use std::process::Command;

use plexus_e2e::skip;
use plexus_e2e::workspace::{read, root};
use serde_json::Value;

pub const ALERTS: &str = "deploy/observability/alerts.yaml";
const TESTS: &str = "deploy/observability/alerts-test.yaml";

pub fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rules() -> Vec<Value> {
    let alerts = yaml(ALERTS);
    let rules = alerts["groups"][0]["rules"].as_array();
    rules.expect("rules").clone()
}

#[test]
fn alerts_and_prometheus_rule_are_equal() {
    let rule = yaml("deploy/observability/prometheus-rule.yaml");
    assert_eq!(rule["kind"], "PrometheusRule");
    assert_eq!(rule["spec"], yaml(ALERTS));
}

#[test]
fn every_alert_has_a_severity_texts_and_a_runbook() {
    let page = read("docs/alerts.md");
    for rule in rules() {
        let name = rule["alert"].as_str().expect("a name");
        let severity = rule["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{rule}");
        let annotations = &rule["annotations"];
        for key in ["summary", "description"] {
            assert!(annotations[key].is_string(), "{rule}");
        }
        let url = format!("docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(annotations["runbook_url"], url);
        assert!(page.contains(&format!("\n## {name}\n")), "{name}");
    }
    let sections = page.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(sections, rules().len());
}

#[test]
fn every_alert_is_tested_when_it_fires_and_when_it_does_not() {
    let tests = yaml(TESTS);
    let tests: Vec<_> = tests["tests"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|test| test["alert_rule_test"].as_array().into_iter().flatten())
        .collect();
    for rule in rules() {
        for fires in [true, false] {
            let is_tested = |test: &&Value| {
                test["alertname"] == rule["alert"] && test["exp_alerts"].is_array() == fires
            };
            let count = tests.iter().copied().filter(is_tested).count();
            assert!(count > 0, "{}, fires: {fires}", rule["alert"]);
        }
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    for (action, file) in [("check", ALERTS), ("test", TESTS)] {
        let promtool = Command::new("promtool")
            .args([action, "rules"])
            .arg(root().join(file))
            .output();
        let output = match promtool {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                skip!("promtool is missing (on Debian the package prometheus)")
            }
            output => output.expect("run promtool"),
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {text}{errors}");
    }
}
