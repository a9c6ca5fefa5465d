//! Permits and network locks together.

use std::pin::pin;
use std::task::Poll;

use futures_util::poll;

use super::*;

fn limits(call: &str) -> CallLimits {
    CallLimits::background(call, CancellationToken::new())
}

fn scope(network: &str) -> GuardScope {
    let mut config = list("1.0.0", "", &["a"]);
    network.clone_into(&mut config.name);
    GuardScope::new(&PodRef::default(), &[attach(config)])
}

#[tokio::test(start_paused = true)]
async fn gc_needs_no_permit() {
    let bench = Bench::new();
    let (add, gc) = (limits("ADD"), limits("GC"));
    let _held = bench
        .delegates
        .attach_guard(Priority::Add, &scope("other"), &add)
        .await
        .expect("a free permit");
    let gc_lock = bench.delegates.lock_gc(&gc).await.expect("no other GC");
    let guard = bench.delegates.gc_guard(&gc_lock, "net", &gc).await;
    guard.expect("calls of other networks hold all permits");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_a_permit_holds_no_network() {
    let bench = Bench::new();
    let (add, gc) = (limits("ADD"), limits("GC"));
    let held = bench
        .delegates
        .attach_guard(Priority::Add, &scope("other"), &add)
        .await
        .expect("a free permit");
    let net = scope("net");
    let mut waiting = pin!(bench.delegates.attach_guard(Priority::Add, &net, &add));
    assert!(poll!(&mut waiting).is_pending(), "no permit is free");
    let gc_lock = bench.delegates.lock_gc(&gc).await.expect("no other GC");
    let guard = bench.delegates.gc_guard(&gc_lock, "net", &gc).await;
    let guard = guard.expect("the call that waits does not hold the network");
    drop(held);
    assert!(poll!(&mut waiting).is_pending(), "GC runs");
    drop(guard);
    assert!(matches!(poll!(&mut waiting), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_gc_holds_no_permit() {
    let bench = Bench::new();
    let (add, gc) = (limits("ADD"), limits("GC"));
    let gc_lock = bench.delegates.lock_gc(&gc).await.expect("no other GC");
    let guard = bench.delegates.gc_guard(&gc_lock, "net", &gc).await;
    let guard = guard.expect("no call holds the network");
    let net = scope("net");
    assert!(bench.delegates.try_attach_guard(&net, "recovery").is_none());
    let mut waiting = pin!(bench.delegates.attach_guard(Priority::Add, &net, &add));
    assert!(poll!(&mut waiting).is_pending(), "GC runs");
    // The only permit.
    drop(
        bench
            .delegates
            .try_attach_guard(&scope("other"), "recovery")
            .expect("a free permit"),
    );
    drop(guard);
    let guard = waiting.await.expect("GC has ended");
    let error = bench.delegates.lock_gc(&gc.within(PATIENCE)).await;
    assert!(error.is_err(), "the other GC runs");
    drop(gc_lock);
    let gc_lock = bench.delegates.lock_gc(&gc).await.expect("no other GC");
    let error = bench
        .delegates
        .gc_guard(&gc_lock, "net", &gc)
        .await
        .expect_err("an ADD holds the network");
    assert!(error.to_string().contains("held by ADD"), "{error}");
    drop(guard);
}
