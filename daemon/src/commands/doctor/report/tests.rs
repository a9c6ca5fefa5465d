use serde_json::Value;

use super::*;

fn report() -> Report {
    let mut report = Report::default();
    report.add(Check::Configuration, Outcome::Findings(Vec::new()));
    let warning = Finding::warning("inotify", "no instance").with_remedy("raise it");
    report.add(Check::Limits, Some(warning).into());
    let failed = Finding::failed("/run/plexus.sock", "no plexusd\nlistens");
    report.add(Check::Socket, Some(failed).into());
    report.skip(Check::RoundTrip, Check::Socket);
    report.add(Check::Shim, Outcome::NotApplicable("not installed"));
    report
}

#[test]
fn the_text_has_one_line_for_each_check_and_the_remedy_below() {
    let mut out = Vec::new();
    report()
        .print(TableFormat::Text, &mut out)
        .expect("written");
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "\
ok       configuration
warning  limits: inotify: no instance
           raise it
failed   socket: /run/plexus.sock: no plexusd listens
skipped  round-trip: socket failed
skipped  shim: not installed
1 failed, 1 warnings
"
    );
}

#[test]
fn the_json_lists_the_worst_findings_first() {
    let json = report().json();
    assert_eq!(json["result"], "failed");
    let checks: Vec<_> = json["findings"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    let names = checks.iter().map(|finding| finding["check"].as_str());
    assert_eq!(names.collect::<Vec<_>>(), [Some("socket"), Some("limits")]);
    assert_eq!(checks[0]["remedy"], Value::Null);
    assert_eq!(json["checks"][3]["result"], "skipped");
    assert_eq!(json["checks"][3]["reason"], "socket failed");
}

#[test]
fn a_check_is_skipped_for_the_first_check_that_failed() {
    let report = report();
    assert_eq!(report.unmet(&[Check::Configuration, Check::Limits]), None);
    assert_eq!(report.unmet(&[Check::Socket]), Some(Check::Socket));
    // Skipped checks lead to the one that failed.
    assert_eq!(report.unmet(&[Check::RoundTrip]), Some(Check::Socket));
    assert_eq!(report.unmet(&[Check::Shim]), None, "nothing to check");
}

#[test]
fn a_long_list_of_findings_is_cut_in_the_text_only() {
    let mut report = Report::default();
    let findings = (0..12).map(|number| Finding::failed(format!("pod {number}"), "?"));
    report.add(Check::Plugins, findings.collect::<Vec<_>>().into());
    let mut out = Vec::new();
    report.print(TableFormat::Text, &mut out).expect("written");
    let text = String::from_utf8(out).expect("text");
    assert!(
        text.contains("plugins: 2 more") && !text.contains("pod 11"),
        "{text}"
    );
    assert_eq!(report.json()["findings"].as_array().map(Vec::len), Some(12));
}
