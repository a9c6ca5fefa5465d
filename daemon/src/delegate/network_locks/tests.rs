use std::pin::pin;
use std::task::Poll;

use futures_util::{FutureExt as _, poll};
use plexus_api::rows;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;

/// Waits for the shared lock of `networks` as a call does.
async fn share(locks: &NetworkLocks, call: &str, networks: &[&str]) -> SharedNetworkLock {
    let networks = names(networks);
    loop {
        if let Some(lock) = locks.try_acquire_shared(call, &networks) {
            return lock;
        }
        let limits = CallLimits::background(call, CancellationToken::new());
        let wait = locks.wait_for_gc(&networks, &limits).await;
        wait.expect("no limits");
    }
}

fn names(networks: &[&str]) -> BTreeSet<String> {
    networks.iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn gc_waits_and_does_not_block_new_calls_at_first() {
    rows!("P-113");
    let locks = NetworkLocks::default();
    let gc_lock = locks.lock_gc().await;
    let slow = share(&locks, "ADD slow", &["a", "b"]).await;
    let mut gc = pin!(locks.acquire_exclusive(&gc_lock, "a"));
    assert!(poll!(&mut gc).is_pending());
    let other = share(&locks, "ADD other", &["a"]).await;
    drop(slow);
    assert!(
        poll!(&mut gc).is_pending(),
        "the other call holds the network"
    );
    drop(other);
    assert!(matches!(poll!(&mut gc), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn calls_wait_while_gc_holds_one_of_their_networks() {
    rows!("P-113");
    let locks = NetworkLocks::default();
    let gc_lock = locks.lock_gc().await;
    let locked = locks
        .acquire_exclusive(&gc_lock, "a")
        .await
        .expect("no call holds the network");
    let mut add = pin!(share(&locks, "ADD", &["b", "a"]));
    assert!(poll!(&mut add).is_pending());
    let other = share(&locks, "ADD other", &["b"]).await;
    drop(other);
    assert!(
        locks.state.borrow().is_free("b"),
        "a call that waits holds none of its networks"
    );
    drop(locked);
    assert!(poll!(&mut add).is_ready());
}

#[tokio::test(start_paused = true)]
async fn gc_gives_up_and_blocks_calls_only_for_a_short_time() {
    let locks = NetworkLocks::default();
    let _hung = share(&locks, "ADD pod default/hung", &["a"]).await;
    let start = Instant::now();
    let (longest, error) = tokio::join!(
        async {
            let mut longest = Duration::ZERO;
            while start.elapsed() < 2 * (NON_BLOCKING_WAIT + BLOCKING_WAIT) {
                let requested = Instant::now();
                let lock = share(&locks, "ADD", &["a"]).await;
                longest = longest.max(requested.elapsed());
                tokio::time::sleep(Duration::from_millis(10)).await;
                drop(lock);
            }
            longest
        },
        async {
            let error = locks
                .acquire_exclusive(&locks.lock_gc().await, "a")
                .await
                .expect_err("a call holds the network");
            assert_eq!(start.elapsed(), NON_BLOCKING_WAIT + BLOCKING_WAIT);
            error
        }
    );
    assert!(
        longest > Duration::ZERO && longest <= BLOCKING_WAIT,
        "{longest:?}"
    );
    assert!(
        error.to_string().contains("held by ADD pod default/hung"),
        "{error}"
    );
    drop(share(&locks, "ADD", &["a"]).await);
}

#[tokio::test(start_paused = true)]
async fn gc_gets_the_lock_while_calls_overlap_without_end() {
    let locks = NetworkLocks::default();
    let gc_lock = locks.lock_gc().await;
    let mut last = share(&locks, "ADD", &["a"]).await;
    let mut gc = pin!(locks.acquire_exclusive(&gc_lock, "a"));
    let start = Instant::now();
    loop {
        tokio::select! {
            biased;
            locked = &mut gc => {
                locked.expect("GC gets the lock");
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(300)) => {
                // The next call locks before the last call unlocks, unless GC blocks it.
                let mut next = Box::pin(share(&locks, "ADD", &["a"]));
                match poll!(&mut next) {
                    Poll::Ready(next) => last = next,
                    Poll::Pending => {
                        drop(next);
                        drop(last);
                        gc.as_mut().await.expect("GC gets the lock");
                        break;
                    }
                }
            }
        }
    }
    assert!(
        (NON_BLOCKING_WAIT..NON_BLOCKING_WAIT + BLOCKING_WAIT).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_gc_waits_for_the_first() {
    let locks = NetworkLocks::default();
    let gc_lock = locks.lock_gc().await;
    let mut other = pin!(locks.lock_gc());
    assert!(poll!(&mut other).is_pending());
    drop(gc_lock);
    assert!(poll!(&mut other).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_leaves_no_lock() {
    let locks = NetworkLocks::default();
    let gc_lock = locks.lock_gc().await;
    let hung = share(&locks, "hung", &["a"]).await;
    for time in [NON_BLOCKING_WAIT / 2, NON_BLOCKING_WAIT + BLOCKING_WAIT / 2] {
        assert!(
            timeout(time, locks.acquire_exclusive(&gc_lock, "a"))
                .await
                .is_err(),
            "GC waits"
        );
        drop(
            share(&locks, "ADD", &["a"])
                .now_or_never()
                .expect("no GC blocks the network"),
        );
    }
    let locked = locks
        .acquire_exclusive(&gc_lock, "b")
        .await
        .expect("no call holds the network");
    assert!(share(&locks, "ADD", &["a", "b"]).now_or_never().is_none());
    drop((hung, locked));
    let state = locks.state.borrow();
    assert!(
        state.shared.is_empty() && state.exclusive.is_empty(),
        "{state:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn gc_runs_on_one_network_after_the_other() {
    let locks = NetworkLocks::default();
    let gc_lock = locks.lock_gc().await;
    let first = locks.acquire_exclusive(&gc_lock, "a").await;
    let first = first.expect("no call holds the network");
    let mut second = pin!(locks.acquire_exclusive(&gc_lock, "b"));
    assert!(poll!(&mut second).is_pending(), "it is the turn of a");
    // A network whose turn has not come is not locked.
    drop(share(&locks, "ADD", &["b"]).now_or_never().expect("free"));
    drop(first);
    assert!(matches!(poll!(&mut second), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_in_use_does_not_delay_gc_of_the_others() {
    let locks = NetworkLocks::default();
    let gc_lock = locks.lock_gc().await;
    let hung = share(&locks, "ADD", &["a"]).await;
    let mut busy = pin!(locks.acquire_exclusive(&gc_lock, "a"));
    assert!(poll!(&mut busy).is_pending());
    let other = locks.acquire_exclusive(&gc_lock, "b").now_or_never();
    drop(other.expect("no wait").expect("no call holds the network"));
    drop(hung);
    assert!(matches!(poll!(&mut busy), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_gc_ends_at_the_deadline_and_with_the_caller() {
    let locks = NetworkLocks::default();
    let gc_lock = locks.lock_gc().await;
    let _gc = locks.acquire_exclusive(&gc_lock, "a").await.expect("free");
    let networks = names(&["a", "b"]);
    let limits = CallLimits::background("ADD", CancellationToken::new());
    let second = limits.within(Duration::from_secs(1));
    let error = locks.wait_for_gc(&networks, &second).await;
    assert_eq!(
        error.expect_err("GC runs").to_string(),
        "timed out waiting for network \"a\", held by GC; retry later"
    );
    limits.cancel.cancel();
    let error = locks.wait_for_gc(&networks, &limits).await;
    assert!(matches!(error, Err(WaitError::Cancelled(_))), "{error:?}");
}
