use std::future::{pending, ready};

use super::*;

fn limits(time: Duration) -> CallLimits {
    CallLimits::new(
        "ADD pod default/p",
        Instant::now(),
        time,
        CancellationToken::new(),
    )
}

fn door() -> Resource {
    Resource::held("the door", ["DEL pod default/q".to_owned()])
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_the_deadline() {
    let (start, limits) = (Instant::now(), limits(Duration::from_secs(1)));
    let error = limits.wait(pending::<()>(), door).await.expect_err("held");
    assert_eq!(start.elapsed().as_secs(), 1);
    assert_eq!(
        error.to_string(),
        "timed out waiting for the door, held by DEL pod default/q; retry later"
    );
    assert_eq!(limits.remaining(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_caller() {
    let (start, limits) = (Instant::now(), limits(Duration::from_hours(1)));
    limits.cancel.cancel();
    let error = limits.wait(pending::<()>(), door).await.expect_err("held");
    assert_eq!(
        (start.elapsed(), error),
        (Duration::ZERO, WaitError::Cancelled(door()))
    );
    assert_eq!(
        limits.wait(ready(7), door).await,
        Ok(7),
        "nothing to wait for"
    );
}

#[tokio::test(start_paused = true)]
async fn background_work_waits_until_it_is_cancelled() {
    let limits = CallLimits::background("recovery", CancellationToken::new());
    let wait = limits.wait(pending::<()>(), door);
    assert!(
        tokio::time::timeout(Duration::from_hours(24), wait)
            .await
            .is_err()
    );
    limits.cancel.cancel();
    limits
        .wait(pending::<()>(), door)
        .await
        .expect_err("cancelled");
}

#[test]
fn a_time_without_end_does_not_overflow() {
    limits(Duration::MAX);
}

#[test]
fn an_error_names_a_few_holders_and_counts_the_others() {
    let holders = (1..=20).map(|index| format!("ADD {index}"));
    let text = Resource::held("a permit", holders).to_string();
    assert_eq!(
        text,
        "a permit, held by ADD 1, ADD 2, ADD 3, ADD 4, ADD 5 and 15 others"
    );
}
