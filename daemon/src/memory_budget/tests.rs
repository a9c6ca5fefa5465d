use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;

const MIB: usize = 1 << 20;

fn limits(time: Duration) -> CallLimits {
    CallLimits::new("test", Instant::now(), time, CancellationToken::new())
}

fn soon() -> CallLimits {
    limits(Duration::from_secs(1))
}

#[tokio::test(start_paused = true)]
async fn large_users_wait_until_the_budget_is_free_or_their_deadline_passes() {
    let budget = MemoryBudget::new(4 * MIB);
    let first = budget.reserve(3 * MIB, &soon()).await.expect("free");
    let late = budget.reserve(2 * MIB, &soon()).await.err();
    assert!(matches!(late, Some(WaitError::TimedOut(_))), "{late:?}");
    let _second = budget.reserve(MIB, &soon()).await.expect("still free");
    drop(first);
    budget.reserve(2 * MIB, &soon()).await.expect("free again");
}

#[tokio::test(start_paused = true)]
async fn ordinary_users_never_wait() {
    let budget = MemoryBudget::new(MIB);
    let _whole = budget.reserve(MIB, &soon()).await.expect("free");
    let now = limits(Duration::ZERO);
    for _ in 0..100 {
        budget.reserve(UNRESERVED, &now).await.expect("no wait");
    }
    assert!(budget.reserve(UNRESERVED + 1, &now).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_user_of_more_than_the_budget_gets_the_whole_budget() {
    let budget = MemoryBudget::new(MIB);
    let whole = budget.reserve(9 * MIB, &soon()).await.expect("capped");
    assert!(budget.reserve(MIB, &soon()).await.is_err());
    drop(whole);
    budget.reserve(MIB, &soon()).await.expect("free again");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_memory_ends_with_the_caller() {
    let budget = MemoryBudget::new(MIB);
    let _whole = budget.reserve(MIB, &soon()).await.expect("free");
    let limits = soon();
    let wait = budget.reserve(MIB, &limits);
    limits.cancel.cancel();
    let ended = wait.await.err();
    assert!(matches!(ended, Some(WaitError::Cancelled(_))), "{ended:?}");
}
