//! The memory and the output of the daemon with very many records.

use std::fmt::Write as _;
use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use plexus_e2e::{Plexus, node};

const RECORDS: usize = 10_000;
/// What the records may cost, in KiB.
const MOST: u64 = 16 << 10;
const CAUSE: &str = "the switch does not answer";

/// The peak of the daemon's memory without the pages of its program file, in KiB.
fn peak(plexus: &Plexus<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", plexus.daemon.pid()));
    let status = status.expect("the daemon runs");
    let field = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.and_then(|number| number.parse().ok()).expect(name)
    };
    field("VmHWM:") - field("RssFile:") - field("RssShmem:")
}

#[test]
fn ten_thousand_records_with_failing_dels_need_little_memory_and_one_line_in_the_log() {
    let node = node!();
    let mut plexus = Plexus::start(&node);
    let (_sandbox, target) = plexus.attached("pod", "");
    let record = plexus.record();
    let without_records = peak(&plexus);
    plexus.daemon.stop();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time");
    let mut failures = String::new();
    // After this many failures, a retry is not due during the test.
    for _ in 0..5 {
        let now = now.as_millis();
        writeln!(
            failures,
            r#"{{"delFailed":{{"unixMs":{now},"error":"{CAUSE}"}}}}"#
        )
        .expect("text");
    }
    node.run(|| {
        for index in 0..RECORDS {
            let id = format!("c{index}");
            let record = record.replace(&target.container, &id) + &failures;
            fs::write(format!("/var/lib/plexus/ledger/{id}:eth0.jsonl"), record).expect("a record");
        }
    });
    let start = Instant::now();
    plexus.daemon.restart();
    let ready = start.elapsed();
    plexus.daemon.wait_log(&format!("records={RECORDS}"));
    let cost = peak(&plexus).saturating_sub(without_records);
    println!("{RECORDS} records: ready after {ready:?}, {cost} KiB");
    assert!(cost <= MOST, "{cost} KiB");
    assert_eq!(plexus.daemon.log().matches(CAUSE).count(), 1);
    let list = plexus.daemon.ledger(&["list"]).expect("a list");
    assert_eq!(list.matches(CAUSE).count(), RECORDS);
    assert_eq!(list.lines().count(), 1 + 1 + RECORDS);
}
