use serde_json::json;

use super::*;
use crate::ledger::{FORMAT, Line};

fn record(container: &str, pod: &str, created: u64, completed: bool) -> Record {
    let planned = json!({
        "format": FORMAT, "containerId": container, "ifname": "eth0", "bootId": "now", "createdUnixMs": created,
        "pod": {"namespace": "ns", "name": pod}, "cniPath": [], "attachments": [],
    });
    let mut record = Record::new(serde_json::from_value(planned).expect("a plan"));
    if completed {
        record.apply(Line::Completed);
    }
    record
}

#[test]
fn the_newest_sandbox_of_a_pod_that_was_attached_speaks_for_it() {
    let records = [
        record("b", "p", 2, true),
        record("c", "p", 1, true),
        record("a", "p", 3, false),
        record("d", "q", 1, true),
        record("e", "q", 5, true),
    ];
    let key = |container: &str| (container.to_owned(), "eth0".to_owned());
    assert_eq!(newest(&records), BTreeSet::from([key("b"), key("e")]));
}

#[test]
fn a_failed_del_is_tried_again_after_a_pause_whatever_the_clock_does() {
    let failures = |count, last_unix_ms| DelFailures { count, last_unix_ms, ..DelFailures::default() };
    for (count, last, now, due) in [
        (0, 0, 0, true),
        (1, 5_000, 14_999, false),
        (1, 5_000, 15_000, true),
        (2, 5_000, 15_000, false),
        (2, 5_000, 25_000, true),
        (u32::MAX, 0, 599_999, false),
        (u32::MAX, 0, 600_000, true),
        (1, 900_000_000, 5_000, true),
    ] {
        let failures = failures(count, last);
        assert_eq!(is_due(&failures, Duration::from_secs(10), now), due, "{failures:?} at {now}");
    }
}
