use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::FutureExt;
use plexus_api::cni::{CniError, Code};
use plexus_api::rows;
use tokio::task::unconstrained;

use super::*;
use crate::ledger::Ledger;
use crate::ledger::test_helpers::{BOOT, no_limits, open, planned};

/// Whether the future is pending. Polls once.
fn waits<T>(future: Pin<&mut impl Future<Output = T>>) -> bool {
    unconstrained(future).now_or_never().is_none()
}

fn now<T>(future: impl Future<Output = T>) -> T {
    unconstrained(future).now_or_never().expect("no wait")
}

#[tokio::test]
async fn a_container_has_one_holder_at_a_time_in_order_of_arrival() {
    rows!("P-116", "R-068");
    let (_dir, ledger) = open();
    let first = ledger.wait_for_container("c1").await;
    let (mut second, mut third) = (
        pin!(ledger.wait_for_container("c1")),
        pin!(ledger.wait_for_container("c1")),
    );
    assert!(waits(second.as_mut()) && waits(third.as_mut()));
    drop(first);
    assert!(waits(third.as_mut()), "the second waiter is next");
    let second = now(second);
    assert!(waits(third.as_mut()));
    drop(second);
    now(third);
}

#[tokio::test]
async fn a_waiter_that_gives_up_does_not_block_the_next_one() {
    rows!("P-116");
    let (_dir, ledger) = open();
    let holder = ledger.wait_for_container("c1").await;
    let mut given_up = Box::pin(ledger.wait_for_container("c1"));
    assert!(waits(given_up.as_mut()));
    drop(given_up);
    let mut next = pin!(ledger.wait_for_container("c1"));
    assert!(waits(next.as_mut()));
    drop(holder);
    now(next);
}

#[tokio::test]
async fn containers_do_not_wait_for_each_other() {
    rows!("P-116");
    let (_dir, ledger) = open();
    let locks: Vec<_> = (0..200)
        .map(|id| now(ledger.wait_for_container(&format!("c{id}"))))
        .collect();
    assert_eq!(locks.len(), 200);
}

#[tokio::test]
async fn add_and_del_of_a_container_do_not_overlap() {
    rows!("P-116");
    let (_dir, ledger) = open();
    let add = ledger
        .wait_for_add("c1", "eth0")
        .await
        .expect("the only ADD");
    let mut del = pin!(ledger.wait_for_container("c1"));
    assert!(waits(del.as_mut()));
    drop(add);
    now(del);
}

#[tokio::test]
async fn a_second_add_in_flight_fails_at_once() {
    rows!("P-081", "P-116");
    let (_dir, ledger) = open();
    let holder = ledger.wait_for_container("c1").await;
    let mut waiting = pin!(ledger.wait_for_add("c1", "eth0"));
    assert!(waits(waiting.as_mut()));
    let error = now(ledger.wait_for_add("c1", "eth0")).expect_err("another ADD waits");
    assert!(matches!(error, LedgerError::InFlight { .. }), "{error}");
    assert!(CniError::from(error).is(Code::AlreadyAttached));
    let mut other = Box::pin(ledger.wait_for_add("c1", "eth1"));
    assert!(waits(other.as_mut()), "an ADD of another interface waits");
    drop(other);
    drop(holder);
    let first = now(waiting).expect("the lock is free");
    assert!(
        matches!(
            now(ledger.wait_for_add("c1", "eth0")),
            Err(LedgerError::InFlight { .. })
        ),
        "another ADD runs"
    );
    drop(first);
    now(ledger.wait_for_add("c1", "eth0")).expect("no ADD in flight");
}

#[tokio::test]
async fn a_cancelled_add_is_not_in_flight() {
    let (_dir, ledger) = open();
    let holder = ledger.wait_for_container("c1").await;
    let mut waiting = Box::pin(ledger.wait_for_add("c1", "eth0"));
    assert!(waits(waiting.as_mut()));
    drop(waiting);
    drop(holder);
    now(ledger.wait_for_add("c1", "eth0")).expect("no ADD in flight");
}

#[tokio::test]
async fn the_ledger_lock_waits_for_all_container_locks_and_blocks_none_until_then() {
    let (_dir, ledger) = open();
    let (add, del) = (
        ledger
            .wait_for_add("c1", "eth0")
            .await
            .expect("the only ADD"),
        ledger.wait_for_container("c2").await,
    );
    let mut whole = pin!(ledger.lock_all());
    assert!(waits(whole.as_mut()));
    // A waiter that gives up does not keep the ledger from being locked.
    let mut given_up = Box::pin(ledger.wait_for_container("c2"));
    assert!(waits(given_up.as_mut()));
    // A call that hangs must not block the others.
    drop(now(ledger.wait_for_container("c3")));
    drop(add);
    assert!(waits(whole.as_mut()));
    drop(del);
    assert!(waits(whole.as_mut()));
    drop(given_up);
    let whole = now(whole);
    let mut late = pin!(ledger.wait_for_container("c3"));
    assert!(waits(late.as_mut()));
    assert!(ledger.try_lock_container("c3", "recovery").is_none());
    let mut add = pin!(ledger.wait_for_add("c1", "eth0"));
    assert!(waits(add.as_mut()));
    assert!(whole.keys().expect("a list").is_empty());
    drop(whole);
    now(late);
    now(add).expect("the only ADD");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_call_and_names_the_holder() {
    let (_dir, ledger) = open();
    let limits = |call: &str| CallLimits {
        call: call.to_owned(),
        ..no_limits()
    };
    let holder = ledger.lock_container("c1", &limits("ADD pod ns/p")).await;
    let holder = holder.expect("the lock is free");
    let in_time = limits("DEL pod ns/p").within(Duration::from_secs(1));
    let error = ledger.lock_container("c1", &in_time).await;
    let error = error.expect_err("the lock is held");
    assert_eq!(
        error.to_string(),
        "timed out waiting for the lock of container c1, held by ADD pod ns/p; retry later"
    );
    assert!(CniError::from(error).is(Code::TryAgain));

    let gone = limits("ADD pod ns/p");
    gone.cancel.cancel();
    let error = now(ledger.lock_for_add("c1", "eth0", &gone)).expect_err("the lock is held");
    assert!(
        matches!(error, LedgerError::Wait(WaitError::Cancelled(_))),
        "{error}"
    );
    assert!(CniError::from(error).is(Code::TryAgain));
    assert!(ledger.try_lock_container("c1", "recovery").is_none());
    drop(holder);
    assert!(lock(&ledger.0.adds_in_flight).is_empty());
    let recovery = ledger.try_lock_container("c1", "recovery");
    let recovery = recovery.expect("the lock is free");

    // While the whole ledger is locked, a call does not wait longer than its time either.
    drop(recovery);
    let _whole = ledger.lock_all().await;
    let in_time = limits("DEL pod ns/p").within(Duration::from_secs(1));
    let error = ledger.lock_container("c1", &in_time).await;
    let error = error.expect_err("the ledger is locked");
    assert!(error.to_string().contains("uninstallation"), "{error}");
}

#[tokio::test]
async fn a_panic_releases_the_locks() {
    let (_dir, ledger) = open();
    let task_ledger = ledger.clone();
    let task = tokio::spawn(async move {
        let _add = task_ledger
            .wait_for_add("c1", "eth0")
            .await
            .expect("the only ADD");
        let _other = task_ledger.wait_for_container("c2").await;
        panic!("on purpose");
    });
    assert!(task.await.is_err_and(|error| error.is_panic()));
    now(ledger.wait_for_add("c1", "eth0")).expect("no ADD in flight");
    now(ledger.lock_all());
}

#[tokio::test]
async fn released_containers_use_no_memory() {
    let (_dir, ledger) = open();
    for id in 0..100 {
        let id = format!("c{id}");
        let holder = ledger
            .wait_for_add(&id, "eth0")
            .await
            .expect("the only ADD");
        let (mut given_up, mut served) = (
            Box::pin(ledger.wait_for_container(&id)),
            Box::pin(ledger.wait_for_container(&id)),
        );
        assert!(waits(given_up.as_mut()) && waits(served.as_mut()));
        if id.ends_with('7') {
            drop(holder);
            drop(given_up);
        } else {
            drop(given_up);
            drop(holder);
        }
        now(served);
        now(ledger.wait_for_container(&id));
        assert!(
            lock(&ledger.0.container_mutexes).is_empty()
                && lock(&ledger.0.adds_in_flight).is_empty()
        );
    }
}

#[tokio::test]
async fn a_cancelled_plan_keeps_the_lock_until_it_is_written() {
    let (_dir, ledger) = open();
    let lock = ledger.wait_for_container("c1").await;
    let mut plan = Box::pin(lock.plan(planned("c1", "eth0", 1)));
    let _ = plan.as_mut().now_or_never();
    drop(plan);
    drop(lock);
    // This lock waits for the write.
    let lock = ledger.wait_for_container("c1").await;
    let record = lock.load("eth0").expect("readable").expect("written");
    assert_eq!(
        record.to_undo(BOOT),
        [] as [usize; 0],
        "nothing was started"
    );
}

#[test]
fn a_ledger_can_be_shared_between_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Ledger>();
    shared::<AddLock>();
    shared::<LedgerLock>();
}
