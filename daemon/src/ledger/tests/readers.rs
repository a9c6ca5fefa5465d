//! Reading records while the ledger is written.

use std::fs;
use std::sync::mpsc::TryRecvError;
use std::time::SystemTime;

use plexus_api::cni::{CniError, Code};
use plexus_api::rows;

use super::super::*;
use super::plan;
use crate::ledger::test_helpers::{open, planned, raw, record_path};

#[tokio::test]
async fn a_ledger_that_cannot_be_listed_is_an_error() {
    rows!("R-102");
    let (dir, ledger) = open();
    fs::remove_dir(dir.path().join("ledger")).expect("rmdir");
    fs::write(dir.path().join("ledger"), "").expect("a file in its place");
    let gc = ledger.lock_all().await.keys();
    for error in [
        ledger.keys().expect_err("no directory"),
        gc.expect_err("no directory"),
        Ledger::summaries(dir.path())
            .map(|_| ())
            .expect_err("no directory"),
        ledger
            .wait_for_container("c1")
            .await
            .interfaces()
            .expect_err("no directory"),
    ] {
        assert!(matches!(error, LedgerError::Io { .. }), "{error}");
        let error = CniError::from(error);
        assert!(
            error.is(Code::Ledger) && error.msg.contains("/ledger: "),
            "{error}"
        );
    }
}

#[tokio::test]
async fn all_records_can_be_read_while_another_process_writes() {
    let (dir, ledger) = open();
    plan(&ledger, "c1", "eth0", 1).await;
    fs::write(record_path(&dir, "c2", "eth0"), r#"{"planned":{"form"#)
        .expect("a plan that is being written");
    fs::write(record_path(&dir, "c3", "eth0"), "garbage\n").expect("a corrupt file");
    fs::write(dir.path().join("ledger/notes.txt"), "not ours").expect("a file");

    let (good, bad): (Vec<_>, Vec<_>) = Ledger::summaries(dir.path())
        .expect("a list")
        .partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 1));
    let files = fs::read_dir(dir.path().join("ledger")).expect("a list");
    assert_eq!(files.count(), 4, "a reader changes nothing");
}

#[tokio::test]
async fn a_plan_that_stays_incomplete_is_damaged() {
    let (dir, _ledger) = open();
    let path = record_path(&dir, "c1", "eth0");
    fs::write(&path, r#"{"planned":{"form"#).expect("a torn plan");
    let listed = || Ledger::summaries(dir.path()).expect("a list").next();
    assert!(listed().is_none());
    let file = fs::File::options().write(true).open(&path);
    let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
    file.and_then(|file| file.set_modified(an_hour_ago))
        .expect("set the time");
    let error = listed().expect("a file").expect_err("a torn plan");
    assert!(error.to_string().contains("first line is incomplete"));
    assert_eq!(error.key(), Some(RecordKey::new("c1", "eth0")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thirty_records_are_written_concurrently_while_being_read() {
    let (dir, ledger) = open();
    let writers: Vec<_> = (0..30)
        .map(|id| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let id = format!("c{id}");
                let lock = ledger
                    .wait_for_add(&id, "eth0")
                    .await
                    .expect("the only ADD");
                let mut record = lock
                    .plan(planned(&id, "eth0", 3))
                    .await
                    .expect("a new record");
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
                lock.append(&mut record, Line::Completed).expect("append");
                if id.ends_with('1') {
                    lock.remove(record).expect("remove");
                }
            })
        })
        .collect();
    let path = dir.path().to_owned();
    let (done, writing) = std::sync::mpsc::channel::<()>();
    let reader = tokio::task::spawn_blocking(move || {
        while writing.try_recv() == Err(TryRecvError::Empty) {
            for record in Ledger::summaries(&path).expect("a list") {
                assert_eq!(record.expect("never corrupt").unreadable, 0);
            }
        }
    });
    for writer in writers {
        writer.await.expect("a writer");
    }
    drop(done);
    reader.await.expect("the reader");
    let records = Ledger::summaries(dir.path()).expect("a list");
    let records: Vec<_> = records.map(|record| record.expect("a record")).collect();
    assert_eq!(records.len(), 27);
    assert!(records.iter().all(|record| record.completed));
}
