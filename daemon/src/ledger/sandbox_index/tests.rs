use std::time::Duration;

use super::*;
use crate::ledger::test_helpers::{BOOT, open, planned, record_path};

/// The plan of a sandbox of the pod `pod`.
fn sandbox(
    container_id: &str,
    pod: &str,
    (boot_id, boottime_ns, unix_ms): (&str, Option<u64>, u64),
) -> Planned {
    let mut planned = planned(container_id, "eth0", 1);
    pod.clone_into(&mut planned.pod.name);
    boot_id.clone_into(&mut planned.boot_id);
    planned.created_boottime_ns = boottime_ns;
    planned.created_unix_ms = unix_ms;
    planned
}

#[test]
fn sandboxes_are_ordered_by_the_time_since_boot_before_the_wall_clock() {
    for (older, newer) in [
        ((BOOT, Some(1), 9), (BOOT, Some(2), 3)),
        (("before", Some(7), 9), (BOOT, Some(2), 3)),
        // Records of an older plexusd lack the time since boot.
        ((BOOT, None, 9), (BOOT, Some(2), 3)),
        ((BOOT, None, 3), (BOOT, None, 9)),
    ] {
        let (older, newer) = (sandbox("a", "p", older), sandbox("b", "p", newer));
        let mut sandboxes = SandboxIndex::default();
        sandboxes.insert(&older);
        sandboxes.insert(&sandbox("c", "other", (BOOT, Some(100), 100)));
        assert!(
            sandboxes.is_newest(&(&older).into(), BOOT),
            "the only sandbox of the pod"
        );
        sandboxes.insert(&newer);
        assert!(
            !sandboxes.is_newest(&(&older).into(), BOOT),
            "{older:?} {newer:?}"
        );
        assert!(
            sandboxes.is_newest(&(&newer).into(), BOOT),
            "{older:?} {newer:?}"
        );
    }
}

#[tokio::test]
async fn a_sandbox_is_indexed_from_its_plan_until_its_record_is_removed() {
    let (dir, ledger) = open();
    let (older, newer) = (
        sandbox("a", "p", (BOOT, Some(1), 1)),
        sandbox("b", "p", (BOOT, Some(2), 1)),
    );
    ledger
        .wait_for_container("a")
        .await
        .plan(older)
        .await
        .expect("a record");
    ledger
        .wait_for_container("b")
        .await
        .plan(newer)
        .await
        .expect("a record");
    let read = |ledger: &Ledger, id: &str| {
        ledger
            .read(&RecordKey::new(id, "eth0"))
            .expect("readable")
            .expect("there")
            .planned
    };
    let (older, newer) = (read(&ledger, "a"), read(&ledger, "b"));
    assert!(!ledger.is_newest(&older, BOOT) && ledger.is_newest(&newer, BOOT));
    drop(ledger);
    let ledger = Ledger::open(dir.path(), Duration::ZERO).expect("the lock is free again");
    assert!(
        !ledger.is_newest(&older, BOOT) && ledger.is_newest(&newer, BOOT),
        "after a restart"
    );
    let lock = ledger.wait_for_container("b").await;
    let record = lock.load("eth0").expect("readable").expect("there");
    lock.remove(record).expect("remove");
    assert!(ledger.is_newest(&older, BOOT));
}

#[tokio::test]
async fn a_record_in_the_quarantine_is_not_indexed() {
    let (dir, ledger) = open();
    let (older, newer) = (
        sandbox("a", "p", (BOOT, Some(1), 1)),
        sandbox("b", "p", (BOOT, Some(2), 1)),
    );
    let older = ledger
        .wait_for_container("a")
        .await
        .plan(older)
        .await
        .expect("a record")
        .planned;
    let lock = ledger.wait_for_container("b").await;
    lock.plan(newer).await.expect("a record");
    std::fs::write(record_path(&dir, "b", "eth0"), "no plan\n").expect("write");
    assert!(lock.load("eth0").is_err_and(|error| error.is_quarantined()));
    assert!(ledger.is_newest(&older, BOOT));
}
