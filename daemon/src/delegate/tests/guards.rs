//! Permits and network locks together.

use plexus_api::cni::Code;

use super::*;

#[tokio::test(start_paused = true)]
async fn gc_gives_up_soon_if_no_permit_is_free() {
    let bench = Bench::new();
    let permit = bench.delegates.permit(Priority::Add).await;
    let gc_lock = bench.delegates.lock_gc().await;
    let error = bench
        .delegates
        .gc_guard(&gc_lock, "net")
        .await
        .expect_err("the only permit is held");
    assert!(
        error.is(Code::TryAgain) && error.msg.contains("maxPluginRuns"),
        "{error}"
    );
    drop(permit);
    let attaching = bench
        .delegates
        .attach_guard(Priority::Add, "ADD", &[attachment(&["a"])])
        .await;
    let mut gc = Box::pin(bench.delegates.gc_guard(&gc_lock, "net"));
    assert!(
        futures_util::poll!(&mut gc).is_pending(),
        "an ADD holds the network"
    );
    drop(attaching);
    let gc = gc.await.expect("the network is free");
    let mut permit = Box::pin(bench.delegates.permit(Priority::Del));
    assert!(
        futures_util::poll!(&mut permit).is_pending(),
        "GC holds a permit"
    );
    drop(gc);
    permit.await;
}
