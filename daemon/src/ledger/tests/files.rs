//! The files of records: their names and their modes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use plexus_api::cni::{CniError, Code};
use plexus_api::rows;

use super::super::*;
use super::plan;
use crate::ledger::test_helpers::{open, planned};

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).expect("metadata").permissions().mode() & 0o777
}

#[tokio::test]
async fn two_interfaces_of_a_container_have_separate_records() {
    rows!("R-089");
    let (_dir, ledger) = open();
    plan(&ledger, "c1", "eth0", 1).await;
    plan(&ledger, "c1", "eth1", 2).await;
    plan(&ledger, "c2", "eth0", 3).await;
    let lock = ledger.wait_for_container("c1").await;
    let mut interfaces = lock.interfaces().expect("a list");
    interfaces.sort();
    assert_eq!(interfaces, ["eth0", "eth1"]);

    let eth0 = lock.load("eth0").expect("readable").expect("there");
    lock.remove(eth0).expect("remove");
    assert!(lock.load("eth0").expect("readable").is_none());
    assert_eq!(
        lock.load("eth1")
            .expect("readable")
            .expect("there")
            .attachments
            .len(),
        2
    );
    assert_eq!(lock.interfaces().expect("a list"), ["eth1"]);
}

#[tokio::test]
async fn keys_that_look_alike_when_joined_have_separate_files() {
    rows!("R-083");
    let (_dir, ledger) = open();
    for (count, (container_id, ifname)) in [
        ("a-b", "c"),
        ("a", "b-c"),
        ("a.jsonl", "b"),
        ("a", "b.jsonl"),
    ]
    .iter()
    .enumerate()
    {
        plan(&ledger, container_id, ifname, count).await;
    }
    for (count, (container_id, ifname)) in [
        ("a-b", "c"),
        ("a", "b-c"),
        ("a.jsonl", "b"),
        ("a", "b.jsonl"),
    ]
    .iter()
    .enumerate()
    {
        let record = ledger
            .wait_for_container(container_id)
            .await
            .load(ifname)
            .expect("readable")
            .expect("there");
        assert_eq!(record.attachments.len(), count, "{container_id} {ifname}");
    }
    let mut keys = ledger.keys().expect("a list");
    keys.sort();
    assert_eq!(
        keys,
        [
            RecordKey::new("a", "b-c"),
            RecordKey::new("a", "b.jsonl"),
            RecordKey::new("a-b", "c"),
            RecordKey::new("a.jsonl", "b")
        ]
    );
}

#[tokio::test]
async fn the_longest_names_fit_and_invalid_names_leave_no_file() {
    rows!("P-007");
    let (dir, ledger) = open();
    let (longest, too_long) = ("c".repeat(200), "c".repeat(201));
    plan(&ledger, &longest, "i23456789012345", 1).await;
    assert!(
        ledger
            .wait_for_container(&longest)
            .await
            .load("i23456789012345")
            .expect("readable")
            .is_some()
    );

    for (container_id, ifname) in [
        (too_long.as_str(), "eth0"),
        ("../c1", "eth0"),
        ("c1", "../eth0"),
        ("c1", "a:b"),
    ] {
        let lock = ledger.wait_for_container(container_id).await;
        let error = CniError::from(
            lock.plan(planned(container_id, ifname, 1))
                .await
                .expect_err("no file name"),
        );
        assert!(error.is(Code::InvalidEnvironment), "{error}");
        assert!(lock.load(ifname).is_err(), "{container_id} {ifname}");
    }
    let files = fs::read_dir(dir.path().join("ledger")).expect("a list");
    assert_eq!(files.count(), 1);
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    rows!("R-084");
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("lib/plexus");
    let ledger = Ledger::open(&state, Duration::ZERO).expect("a ledger");
    plan(&ledger, "c1", "eth0", 1).await;
    assert_eq!(mode(state.clone()), 0o700);
    assert_eq!(mode(state.join("ledger")), 0o700);
    assert_eq!(mode(state.join("ledger/c1:eth0.jsonl")), 0o600);
    assert_eq!(mode(state.join("lock")), 0o600);
    drop(ledger);

    fs::set_permissions(state.join("ledger"), fs::Permissions::from_mode(0o755)).expect("chmod");
    Ledger::open(&state, Duration::ZERO).expect("a ledger");
    assert_eq!(mode(state.join("ledger")), 0o700);
}

#[tokio::test]
async fn the_number_of_records_is_known_before_they_are_read() {
    let (dir, ledger) = open();
    for container in ["c1", "c2", "c3"] {
        plan(&ledger, container, "eth0", 1).await;
    }
    drop(ledger);
    let steps = std::cell::RefCell::default();
    let step = |step| Vec::push(&mut steps.borrow_mut(), step);
    let ledger = UnlockedLedger::open(dir.path()).expect("a ledger");
    ledger.lock(Duration::ZERO, step).expect("a free lock");
    assert_eq!(steps.take(), [LockStep::Reading(3)]);
}
