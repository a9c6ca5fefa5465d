use plexus_api::cni::{CniError, Code};
use plexus_api::rows;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::ledger::test_helpers::{BOOT, line_breaks, planned, raw};

/// One line of every kind, in a plausible order.
fn lines() -> Vec<Line> {
    vec![
        Line::Started { index: 0 },
        Line::Added {
            index: 0,
            result: raw("{\"ips\":\n[]}"),
        },
        Line::Started { index: 1 },
        Line::Added {
            index: 1,
            result: raw("{}"),
        },
        Line::DeviceInfo {
            index: 1,
            document: raw("{\"type\":\"pci\"}"),
        },
        Line::Links {
            names: BTreeSet::from(["eth0".to_owned()]),
        },
        Line::Completed,
        Line::StatusWritten,
        Line::Deleted { index: 1 },
        Line::DelFailed {
            unix_ms: 7,
            error: "line\nbreak".to_owned(),
            total: None,
        },
        Line::Orphaned,
    ]
}

/// The bytes of a file with a plan and the first `count` lines.
fn bytes(count: usize) -> Vec<u8> {
    let mut bytes = planned("c1", "eth0", 3).to_bytes().expect("a line");
    for line in lines().iter().take(count) {
        bytes.extend(line.to_bytes().expect("a line"));
    }
    bytes
}

/// The record after the first `count` lines, built without parsing the lines. Values have the white
/// space that they have in a file.
fn record_after(count: usize) -> Record {
    let plan = planned("c1", "eth0", 3).to_bytes().expect("a line");
    let planned: Planned =
        Planned::parse(plan.strip_suffix(b"\n").expect("a line")).expect("a plan");
    let mut record = Record::new(planned);
    for line in lines().into_iter().take(count) {
        record.apply(match line {
            Line::Added { index: 0, .. } => Line::Added {
                index: 0,
                result: raw("{\"ips\": []}"),
            },
            line => line,
        });
    }
    record
}

fn parse(bytes: &[u8]) -> Option<Record> {
    Record::parse(bytes).expect("no error")
}

fn text(record: &Record) -> String {
    format!("{record:?}")
}

#[test]
fn a_truncated_file_is_read_up_to_its_last_complete_line() {
    rows!("R-084", "R-085", "P-090");
    let whole = bytes(lines().len());
    let plan_len = bytes(0).len();
    let undo: [&[usize]; 12] = [
        &[],
        &[0],
        &[0],
        &[1, 0],
        &[1, 0],
        &[1, 0],
        &[1, 0],
        &[1, 0],
        &[1, 0],
        &[0],
        &[0],
        &[0],
    ];
    for len in 0..=whole.len() {
        let read = parse(&whole[..len]);
        if len < plan_len {
            assert!(read.is_none(), "a torn plan at {len}");
            continue;
        }
        let read = read.expect("a record");
        let complete = line_breaks(&whole[..len]) - 1;
        assert_eq!(text(&read), text(&record_after(complete)), "at {len}");
        assert_eq!(read.to_undo(BOOT), undo[complete], "at {len}");
    }
    assert_eq!(
        line_breaks(&whole),
        1 + lines().len(),
        "no value contains a line break"
    );
}

#[test]
fn lines_zeroed_by_a_power_loss_count_as_started_attachments() {
    rows!("P-090");
    let whole = bytes(lines().len());
    for start in bytes(0).len()..whole.len() {
        let mut damaged = whole.clone();
        damaged[start..].fill(0);
        damaged.push(b'\n');
        let read = parse(&damaged).expect("the plan is complete");
        assert!(read.unreadable > 0, "at {start}");
        let left: Vec<_> = (0..3)
            .rev()
            .filter(|index| !read.attachments[*index].deleted)
            .collect();
        assert_eq!(read.to_undo(BOOT), left, "at {start}");
    }
}

#[test]
fn a_damaged_byte_neither_panics_nor_yields_another_plan() {
    rows!("P-090");
    let whole = bytes(lines().len());
    let plan_len = bytes(0).len();
    for at in 0..whole.len() {
        for wrong in [0, b'\n', 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = wrong;
            match Record::parse(&damaged) {
                Ok(read) => assert!(at >= plan_len || damaged == whole, "{read:?} at {at}"),
                Err(ParseError::Corrupt(reason)) => assert!(at < plan_len, "{reason} at {at}"),
                Err(error) => panic!("{error} at {at}"),
            }
        }
    }
}

#[test]
fn lines_after_the_plan_are_not_trusted_after_a_reboot() {
    rows!("R-085");
    for (count, same_boot, other_boot) in [
        (0, vec![], vec![2, 1, 0]),
        (3, vec![1, 0], vec![2, 1, 0]),
        (9, vec![0], vec![2, 0]),
    ] {
        let record = record_after(count);
        assert_eq!(record.to_undo(BOOT), same_boot, "after {count}");
        assert_eq!(record.to_undo("another"), other_boot, "after {count}");
    }
}

#[test]
fn a_record_has_the_state_of_all_its_lines() {
    let record = record_after(lines().len());
    let flags: Vec<_> = record
        .attachments
        .iter()
        .map(|state| (state.started, state.added.is_some(), state.deleted))
        .collect();
    assert_eq!(
        flags,
        [
            (true, true, false),
            (true, true, true),
            (false, false, false)
        ]
    );
    assert!(record.completed && record.status_written && record.orphaned);
    assert_eq!((record.del_failures.count, record.unreadable), (1, 0));
    assert_eq!(record.links, Some(BTreeSet::from(["eth0".to_owned()])));
    let fresh = record_after(0);
    assert!(fresh.links.is_none() && !fresh.completed && !fresh.status_written && !fresh.orphaned);
}

#[test]
fn fields_and_lines_of_a_newer_plexusd_are_skipped() {
    rows!("R-081");
    let mut newer = bytes(0);
    assert_eq!(newer.pop(), Some(b'\n'));
    assert_eq!(newer.split_off(newer.len() - 2), b"}}");
    newer.extend_from_slice(
        b",\"invented\":{\"later\":1}}}\n{\"moved\":{\"index\":0}}\n\"paused\"\n",
    );
    newer.extend(Line::Completed.to_bytes().expect("a line"));
    let record = parse(&newer).expect("a record");
    assert!(record.completed);
    assert_eq!(record.unreadable, 2);
    assert_eq!(
        record.to_undo(BOOT),
        [2, 1, 0],
        "an unreadable line may have started any of them"
    );
}

#[test]
fn a_line_with_an_index_outside_the_plan_is_unreadable() {
    for line in [
        Line::Started { index: 3 },
        Line::Added {
            index: usize::MAX,
            result: raw("{}"),
        },
        Line::Deleted { index: 3 },
    ] {
        let mut record = record_after(0);
        record.apply(line);
        assert_eq!(record.unreadable, 1);
    }
}

#[test]
fn the_error_for_a_newer_format_names_the_required_plexusd() {
    let text = "{\"planned\":{\"format\":2,\"plexusd\":\"3.0.0\",\"containerId\":7}}\n";
    let error = Record::parse(text.as_bytes()).expect_err("newer");
    assert_eq!(
        error,
        ParseError::Newer {
            format: 2,
            plexusd: "3.0.0".to_owned()
        }
    );
    assert!(
        error.to_string().contains("use plexusd 3.0.0 or newer"),
        "{error}"
    );
}

#[test]
fn a_first_line_that_is_not_a_plan_is_corrupt() {
    for text in [
        "\n",
        "garbage\n",
        "{}\n",
        "[]\n",
        "\"completed\"\n",
        "{\"planned\":{\"format\":1}}\n",
        "\0\0\0\n",
        "\u{1}\n",
    ] {
        assert!(
            matches!(Record::parse(text.as_bytes()), Err(ParseError::Corrupt(_))),
            "{text:?}"
        );
    }
}

#[test]
fn del_failures_are_exhausted_after_three_failures_over_a_minute() {
    // The times of the failures in seconds.
    for (times, exhausted) in [
        (vec![], false),
        (vec![0, 120], false),
        (vec![0, 1, 2], false),
        (vec![0, 30, 59], false),
        (vec![0, 30, 60], true),
        (vec![0, 1, 2, 3, 61], true),
        (vec![90, 30, 10], false),
        (vec![900_000, 10, 69], false),
        (vec![900_000, 10, 70], true),
    ] {
        let mut record = record_after(0);
        for time in &times {
            record.apply(Line::DelFailed {
                unix_ms: time * 1000,
                error: String::new(),
                total: None,
            });
        }
        assert_eq!(
            record.del_failures.exhausted(Duration::from_mins(1)),
            exhausted,
            "{times:?}"
        );
    }
}

/// A record of one network in `version` with `result` as the result of its ADD.
fn record_with_result(version: &str, result: &str) -> Record {
    let mut planned = planned("c1", "eth0", 1);
    Arc::make_mut(&mut planned.attachments[0].config).cni_version =
        version.parse().expect("a version");
    let mut record = Record::new(planned);
    record.apply(Line::Added {
        index: 0,
        result: raw(result),
    });
    record
}

#[test]
fn the_previous_result_is_in_the_version_of_its_network() {
    rows!("R-087");
    let result = r#"{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/24"}]}"#;
    for version in ["0.2.0", "0.4.0", "1.1.0"] {
        let record = record_with_result(version, result);
        for previous in [record.result_for_del(0), record.result_for_check(0).ok()] {
            let previous = previous.expect("a result");
            assert_eq!(previous.version().as_str(), version);
            assert!(
                previous.raw().get().contains("10.0.0.2/24"),
                "{}",
                previous.raw()
            );
        }
    }
}

#[test]
fn without_a_usable_result_del_continues_and_check_fails() {
    rows!("P-089", "R-086", "R-087");
    let no_address = record_with_result("0.2.0", r#"{"cniVersion":"1.1.0","ips":[]}"#);
    let no_result = record_with_result("1.0.0", r#"{"cniVersion":"1.0.0","ips":7}"#);
    let started = record_after(3);
    for (record, index) in [
        (no_address, 0),
        (no_result, 0),
        (started, 1),
        (record_after(0), 99),
    ] {
        assert!(record.result_for_del(index).is_none());
        let error = record
            .result_for_check(index)
            .expect_err("nothing to check against");
        assert!(CniError::from(error).is(Code::CheckFailed));
    }
    let error = record_after(3).result_for_check(1).expect_err("no result");
    assert_eq!(error, PreviousResultError::Missing);
}
