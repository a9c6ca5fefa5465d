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
