//! The life of a record, from its plan to its last DEL.

use std::fs;

use plexus_api::cni::{CniError, Code};
use plexus_api::rows;
use serde_json::value::RawValue;

use super::super::*;
use super::plan;
use crate::ledger::test_helpers::{BOOT, open, planned, raw, record_path};

fn key(container_id: &str, ifname: &str) -> RecordKey {
    RecordKey::new(container_id, ifname)
}

#[tokio::test]
async fn a_record_has_everything_that_del_needs_after_a_restart() {
    rows!("R-080", "R-081", "R-085");
    let (dir, ledger) = open();
    let mut record = plan(&ledger, "c1", "eth0", 2).await;
    {
        let lock = ledger.wait_for_container("c1").await;
        lock.append(&mut record, Line::Started { index: 0 })
            .expect("append");
        let result = raw("{\"cniVersion\": \"1.0.0\",\n\t\"ips\": [], \"more\": 1.50}");
        lock.append(&mut record, Line::Added { index: 0, result })
            .expect("append");
        lock.append(&mut record, Line::Started { index: 1 })
            .expect("append");
    }
    drop(ledger);

    let ledger = Ledger::open(dir.path(), Duration::ZERO).expect("the lock is free again");
    let read = ledger
        .wait_for_container("c1")
        .await
        .load("eth0")
        .expect("readable")
        .expect("there");
    let text = |planned: &Planned| {
        serde_json::to_string(planned)
            .expect("JSON")
            .replace('\n', " ")
    };
    assert_eq!(text(&read.planned), text(&planned("c1", "eth0", 2)));
    assert_eq!(
        read.planned.attachments[0].config.plugins[0]
            .raw("exact")
            .map(RawValue::get),
        Some("1e400")
    );
    let result = read.attachments[0].added.as_ref().expect("a result");
    assert_eq!(
        result.get(),
        "{\"cniVersion\": \"1.0.0\", \t\"ips\": [], \"more\": 1.50}"
    );
    assert_eq!(
        read.to_undo(BOOT),
        [1, 0],
        "the second ADD was started, although it has no result"
    );
}

#[tokio::test]
async fn the_plan_is_on_disk_before_any_plugin_runs() {
    rows!("R-085");
    let (dir, ledger) = open();
    let record = plan(&ledger, "c1", "eth0", 3).await;
    assert_eq!(record.to_undo(BOOT), [] as [usize; 0]);
    let on_disk = Ledger::summaries(dir.path())
        .expect("a list")
        .next()
        .expect("a file")
        .expect("a record");
    assert_eq!(on_disk.attachments.len(), 3);
    assert_eq!(on_disk.to_undo(BOOT), [] as [usize; 0]);
}

#[tokio::test]
async fn a_second_add_leaves_the_first_record_unchanged() {
    rows!("P-081");
    let (dir, ledger) = open();
    plan(&ledger, "c1", "eth0", 2).await;
    let before = fs::read(record_path(&dir, "c1", "eth0")).expect("the file");

    let lock = ledger
        .wait_for_add("c1", "eth0")
        .await
        .expect("the only ADD now");
    let error = lock
        .plan(planned("c1", "eth0", 1))
        .await
        .expect_err("attached already");

    assert!(
        matches!(error, LedgerError::AlreadyAttached { .. }),
        "{error}"
    );
    let error = CniError::from(error);
    assert!(
        error.is(Code::AlreadyAttached) && error.msg.contains("c1") && error.msg.contains("eth0"),
        "{error}"
    );
    assert_eq!(
        fs::read(record_path(&dir, "c1", "eth0")).expect("the file"),
        before
    );
    assert_eq!(
        lock.load("eth0")
            .expect("readable")
            .expect("there")
            .attachments
            .len(),
        2
    );
}

#[tokio::test]
async fn a_record_stays_until_its_del_has_succeeded() {
    rows!("P-092", "R-090");
    let (_dir, ledger) = open();
    plan(&ledger, "c1", "eth0", 3).await;
    let lock = ledger.wait_for_container("c1").await;
    let mut record = lock.load("eth0").expect("readable").expect("there");
    for index in 0..3 {
        lock.append(&mut record, Line::Started { index })
            .expect("append");
        lock.append(
            &mut record,
            Line::Added {
                index,
                result: raw("{}"),
            },
        )
        .expect("append");
    }
    lock.append(&mut record, Line::Deleted { index: 2 })
        .expect("append");
    lock.append(
        &mut record,
        Line::DelFailed {
            unix_ms: 5,
            error: "net1 is busy".to_owned(),
            total: None,
        },
    )
    .expect("append");
    lock.append(&mut record, Line::Deleted { index: 0 })
        .expect("append");
    lock.append(
        &mut record,
        Line::DelFailed {
            unix_ms: 9,
            error: "net1 is still busy".to_owned(),
            total: None,
        },
    )
    .expect("append");
    drop(record);

    let mut record = lock.load("eth0").expect("readable").expect("still there");
    assert_eq!(record.to_undo(BOOT), [1], "only the failed DEL is retried");
    assert!(record.attachments[1].added.is_some(), "with its result");
    let failures = DelFailures {
        count: 2,
        first_unix_ms: 5,
        last_unix_ms: 9,
        last_error: "net1 is still busy".to_owned(),
    };
    assert_eq!(record.del_failures, failures);
    lock.append(&mut record, Line::Deleted { index: 1 })
        .expect("append");
    assert_eq!(record.to_undo(BOOT), [] as [usize; 0]);
    lock.remove(record).expect("remove");
    assert_eq!(ledger.keys().expect("a list"), [] as [RecordKey; 0]);
}

#[tokio::test]
async fn a_deleted_record_is_remembered_until_the_next_add() {
    let (_dir, ledger) = open();
    let record = plan(&ledger, "c1", "eth0", 1).await;
    assert!(!ledger.recently_deleted(&key("c1", "eth0")));
    ledger
        .wait_for_container("c1")
        .await
        .remove(record)
        .expect("remove");
    assert!(ledger.recently_deleted(&key("c1", "eth0")));
    assert!(
        !ledger.recently_deleted(&key("c1", "eth1"))
            && !ledger.recently_deleted(&key("c2", "eth0"))
    );
    plan(&ledger, "c1", "eth0", 1).await;
    assert!(
        !ledger.recently_deleted(&key("c1", "eth0")),
        "attached again"
    );
}

#[tokio::test]
async fn the_number_of_remembered_deletions_is_bounded() {
    let (_dir, ledger) = open();
    for id in 0..=MAX_REMEMBERED {
        ledger.0.remember_deleted(key(&format!("c{id}"), "eth0"));
    }
    assert!(!ledger.recently_deleted(&key("c0", "eth0")));
    assert!(
        ledger.recently_deleted(&key("c1", "eth0"))
            && ledger.recently_deleted(&key(&format!("c{MAX_REMEMBERED}"), "eth0"))
    );
    assert_eq!(lock(&ledger.0.deleted).len(), MAX_REMEMBERED);
}
