use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;
use tokio_util::sync::CancellationToken;

use super::Priority::{Add, Del, Recovery};
use super::*;

type Acquire<'a> = Pin<Box<dyn Future<Output = Result<Permit, WaitError>> + 'a>>;

fn limits(call: &str) -> CallLimits {
    CallLimits::background(call, CancellationToken::new())
}

/// Acquires a permit for a call without groups.
fn acquire(permits: &Permits, priority: Priority) -> Acquire<'_> {
    Box::pin(async move {
        let groups = BTreeSet::new();
        permits.acquire(priority, &groups, &limits("a call")).await
    })
}

/// Acquires a permit for an ADD of the pod `pod` in these groups.
fn acquire_in<'a>(permits: &'a Permits, pod: &'a str, groups: &[Group]) -> Acquire<'a> {
    let groups = groups.iter().cloned().collect();
    Box::pin(async move { permits.acquire(Add, &groups, &limits(pod)).await })
}

fn network(name: &str) -> [Group; 2] {
    [Group::Selecting, Group::Network(name.to_owned())]
}

/// Polls once, and returns the permit if it is granted.
async fn granted(mut acquire: Acquire<'_>) -> Option<Permit> {
    match poll!(&mut acquire) {
        Poll::Ready(permit) => Some(permit.expect("no limits")),
        Poll::Pending => None,
    }
}

async fn waiters<'a>(permits: &'a Permits, queue: &[Priority]) -> Vec<(Priority, Acquire<'a>)> {
    let mut waiters = Vec::new();
    for &priority in queue {
        let mut waiter = acquire(permits, priority);
        assert!(poll!(&mut waiter).is_pending(), "no permit is free");
        waiters.push((priority, waiter));
    }
    waiters
}

/// The order in which the waiters in `queue` get the only permit.
async fn order(queue: &[Priority]) -> String {
    let permits = Permits::new(1);
    let mut held = acquire(&permits, Del).await.expect("no limits");
    let mut waiters = waiters(&permits, queue).await;
    let mut order = String::new();
    while !waiters.is_empty() {
        drop(held);
        let mut granted = Vec::new();
        for (index, (_, waiter)) in waiters.iter_mut().enumerate() {
            if let Poll::Ready(permit) = poll!(waiter) {
                granted.push((index, permit.expect("no limits")));
            }
        }
        assert_eq!(granted.len(), 1, "one permit, one holder");
        let (index, permit) = granted.remove(0);
        order.push_str(match waiters.remove(index).0 {
            Del => "D",
            Add => "A",
            Recovery => "R",
        });
        held = permit;
    }
    order
}

#[tokio::test]
async fn no_more_calls_than_permits_run() {
    let permits = Permits::new(2);
    let first = acquire(&permits, Add).await.expect("no limits");
    let _second = acquire(&permits, Add).await.expect("no limits");
    assert!(permits.try_acquire(&BTreeSet::new(), "recovery").is_none());
    let mut third = waiters(&permits, &[Add]).await;
    drop(first);
    assert!(poll!(&mut third[0].1).is_ready());
    // A configured 0 counts as 1.
    drop(acquire(&Permits::new(0), Add).await.expect("no limits"));
}

#[tokio::test]
async fn del_goes_before_add_before_recovery() {
    assert_eq!(
        order(&[Recovery, Add, Del, Recovery, Add, Del]).await,
        "DDAARR"
    );
}

#[tokio::test]
async fn no_priority_starves() {
    let mut queue = [Del; 8].to_vec();
    queue.extend([Add; 3]);
    queue.extend([Recovery; 2]);
    assert_eq!(order(&queue).await, "DDDADDDADDARR");

    let mut queue = [Del; 20].to_vec();
    queue.extend([Add; 20]);
    queue.push(Recovery);
    assert_eq!(
        order(&queue).await.find('R'),
        Some(15),
        "even the lowest priority gets a permit under full load"
    );
}

#[tokio::test]
async fn a_waiter_that_gives_up_loses_no_permit() {
    // Given two waiters, when the first gives up before its turn, then the second gets the permit.
    let permits = Permits::new(1);
    let held = acquire(&permits, Add).await;
    let mut waiters = waiters(&permits, &[Del, Add]).await;
    drop(waiters.remove(0));
    drop(held);
    let Poll::Ready(held) = poll!(&mut waiters[0].1) else {
        panic!("the second gets the permit")
    };

    // When a waiter gives up after the grant, before it has received the permit, then the permit is
    // free again.
    let late = self::waiters(&permits, &[Del]).await;
    drop(held);
    drop(late);
    assert!(granted(acquire(&permits, Recovery)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_the_deadline_and_with_the_caller() {
    let permits = Permits::new(1);
    let held = acquire_in(&permits, "DEL pod default/a", &[]).await;
    let (groups, call) = (BTreeSet::new(), limits("ADD pod default/b"));
    let second = call.within(Duration::from_secs(1));
    let error = permits.acquire(Add, &groups, &second).await;
    assert_eq!(
        error.expect_err("no permit is free").to_string(),
        "timed out waiting for a permit to run plugins (maxPluginRuns: 1), held by DEL pod default/a; \
         retry later"
    );
    call.cancel.cancel();
    let error = permits.acquire(Add, &groups, &call).await;
    assert!(matches!(error, Err(WaitError::Cancelled(_))), "{error:?}");
    assert_eq!(permits.reading().waiting, [0, 0, 0]);
    drop(held);
    assert!(granted(acquire(&permits, Recovery)).await.is_some());
}

#[tokio::test]
async fn a_network_that_hangs_leaves_permits_for_the_others() {
    let permits = Permits::new(8);
    let mut hung = Vec::new();
    for _ in 0..4 {
        hung.push(
            granted(acquire_in(&permits, "hung", &network("a")))
                .await
                .expect("its share"),
        );
    }
    let mut waiting = acquire_in(&permits, "waiting", &network("a"));
    assert!(
        poll!(&mut waiting).is_pending(),
        "half of the permits are in use"
    );
    // Other networks get permits until only a quarter is left for calls without groups.
    let mut others = Vec::new();
    for _ in 0..2 {
        others.push(
            granted(acquire_in(&permits, "other", &network("b")))
                .await
                .expect("free"),
        );
    }
    let mut other = acquire_in(&permits, "other", &network("c"));
    assert!(poll!(&mut other).is_pending());
    let mut plain = Vec::new();
    for _ in 0..2 {
        plain.push(granted(acquire(&permits, Add)).await.expect("free"));
    }
    assert!(
        granted(acquire(&permits, Del)).await.is_none(),
        "all are in use"
    );

    // A free permit goes to the first waiter that can get one, not to the first in the queue.
    drop(others.pop());
    assert!(
        poll!(&mut waiting).is_pending(),
        "its network still holds its share"
    );
    let Poll::Ready(Ok(_)) = poll!(&mut other) else {
        panic!("the other network gets the permit")
    };
    drop(plain);
    assert!(
        poll!(&mut waiting).is_pending(),
        "its network still holds its share"
    );
    drop(hung.pop());
    assert!(poll!(&mut waiting).is_ready());
}

#[tokio::test]
async fn a_permit_that_the_first_waiter_cannot_get_serves_the_next_one() {
    // Given a free permit and a waiter whose network holds its share, when two permits are
    // released, then both waiters get one.
    let permits = Permits::new(4);
    let first = granted(acquire_in(&permits, "1", &network("a"))).await;
    let second = granted(acquire_in(&permits, "2", &network("a"))).await;
    let mut waiting = [
        acquire_in(&permits, "3", &network("a")),
        acquire_in(&permits, "4", &network("a")),
    ];
    for waiter in &mut waiting {
        assert!(poll!(waiter).is_pending());
    }
    drop((first, second));
    for waiter in &mut waiting {
        assert!(poll!(waiter).is_ready());
    }
}

#[tokio::test(start_paused = true)]
async fn the_error_names_the_group_and_its_calls() {
    let permits = Permits::new(4);
    let namespace = [Group::Selecting, Group::Namespace("tenant".to_owned())];
    let _held = [
        acquire_in(&permits, "ADD pod tenant/a", &namespace).await,
        acquire_in(&permits, "ADD pod tenant/b", &namespace).await,
        acquire_in(&permits, "ADD pod other/c", &[]).await,
    ];
    let limits = limits("ADD pod tenant/d").within(Duration::from_secs(1));
    let error = permits
        .acquire(Add, &namespace.into(), &limits)
        .await
        .expect_err("the namespace holds its share");
    assert_eq!(
        error.to_string(),
        "timed out waiting for a permit to run plugins for networks of pods in namespace \"tenant\" \
         (2 of 4, see maxPluginRuns), held by ADD pod tenant/a, ADD pod tenant/b; retry later"
    );
}
