use std::pin::pin;
use std::task::Poll;

use futures_util::{FutureExt as _, poll};
use plexus_api::rows;
use tokio::time::Instant;

use super::*;

async fn enter(gates: &NetworkLocks, call: &str, networks: &[&str]) -> SharedNetworkLock {
    gates
        .enter(call, networks.iter().map(ToString::to_string).collect())
        .await
}

#[tokio::test(start_paused = true)]
async fn gc_waits_and_lets_others_pass_meanwhile() {
    rows!("P-113");
    let gates = NetworkLocks::default();
    let one = gates.lock_gc().await;
    let slow = enter(&gates, "ADD slow", &["a", "b"]).await;
    let mut gc = pin!(gates.close(&one, "a"));
    assert!(poll!(&mut gc).is_pending());
    let other = enter(&gates, "ADD other", &["a"]).await;
    drop(slow);
    assert!(poll!(&mut gc).is_pending(), "the other is on it");
    drop(other);
    assert!(matches!(poll!(&mut gc), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn nobody_comes_onto_a_network_while_gc_is_at_work() {
    rows!("P-113");
    let gates = NetworkLocks::default();
    let one = gates.lock_gc().await;
    let closed = gates.close(&one, "a").await.expect("nobody is on it");
    let mut add = pin!(enter(&gates, "ADD", &["b", "a"]));
    assert!(poll!(&mut add).is_pending());
    let elsewhere = enter(&gates, "ADD elsewhere", &["b"]).await;
    // Who waits is on none of its networks yet.
    drop(elsewhere);
    drop(gates.close(&one, "b").await.expect("nobody is on it"));
    drop(closed);
    assert!(poll!(&mut add).is_ready());
}

#[tokio::test(start_paused = true)]
async fn gc_gives_up_and_has_kept_nobody_waiting_for_long() {
    let gates = NetworkLocks::default();
    let _hung = enter(&gates, "ADD pod default/hung", &["a"]).await;
    let start = Instant::now();
    let (longest, error) = tokio::join!(
        async {
            let mut longest = Duration::ZERO;
            while start.elapsed() < 2 * (POLITE + BARRED) {
                let came = Instant::now();
                let pass = enter(&gates, "ADD", &["a"]).await;
                longest = longest.max(came.elapsed());
                tokio::time::sleep(Duration::from_millis(10)).await;
                drop(pass);
            }
            longest
        },
        async {
            let error = gates
                .close(&gates.lock_gc().await, "a")
                .await
                .expect_err("one is on it");
            assert_eq!(start.elapsed(), POLITE + BARRED);
            error
        }
    );
    assert!(longest > Duration::ZERO && longest <= BARRED, "{longest:?}");
    assert!(
        error.is(Code::TryAgain)
            && error.msg.contains("\"a\"")
            && error.msg.contains("default/hung"),
        "{error}"
    );
    drop(enter(&gates, "ADD", &["a"]).await);
}

#[tokio::test(start_paused = true)]
async fn gc_has_its_turn_among_calls_that_overlap_without_end() {
    let gates = NetworkLocks::default();
    let one = gates.lock_gc().await;
    let mut last = enter(&gates, "ADD", &["a"]).await;
    let mut gc = pin!(gates.close(&one, "a"));
    let start = Instant::now();
    loop {
        tokio::select! {
            biased;
            closed = &mut gc => {
                closed.expect("it has its turn");
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(300)) => {
                // The next comes before the last leaves, as long as it may.
                let mut next = Box::pin(enter(&gates, "ADD", &["a"]));
                match poll!(&mut next) {
                    Poll::Ready(next) => last = next,
                    Poll::Pending => {
                        drop(next);
                        drop(last);
                        gc.as_mut().await.expect("it has its turn");
                        break;
                    }
                }
            }
        }
    }
    assert!(
        (POLITE..POLITE + BARRED).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn one_gc_waits_for_the_other() {
    let gates = NetworkLocks::default();
    let one = gates.lock_gc().await;
    let mut other = pin!(gates.lock_gc());
    assert!(poll!(&mut other).is_pending());
    drop(one);
    assert!(poll!(&mut other).is_ready());
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_no_trace() {
    let gates = NetworkLocks::default();
    let one = gates.lock_gc().await;
    let hung = enter(&gates, "hung", &["a"]).await;
    for time in [POLITE / 2, POLITE + BARRED / 2] {
        assert!(
            timeout(time, gates.close(&one, "a")).await.is_err(),
            "it waits"
        );
        drop(
            enter(&gates, "ADD", &["a"])
                .now_or_never()
                .expect("the gate is open"),
        );
    }
    let closed = gates.close(&one, "b").await.expect("nobody is on it");
    assert!(enter(&gates, "ADD", &["a", "b"]).now_or_never().is_none());
    drop((hung, closed));
    let state = gates.state.borrow();
    assert!(
        state.inside.is_empty() && state.closed.is_empty(),
        "{state:?}"
    );
}
