use std::pin::Pin;
use std::task::Poll;

use futures_util::poll;

use super::Priority::{Add, Del, Recovery};
use super::*;

type Waiter<'a> = (Priority, Pin<Box<dyn Future<Output = Permit> + 'a>>);

async fn waiters<'a>(permits: &'a Permits, queue: &[Priority]) -> Vec<Waiter<'a>> {
    let mut waiters: Vec<Waiter<'a>> = Vec::new();
    for &priority in queue {
        let mut waiter: Waiter<'a> = (priority, Box::pin(permits.acquire(priority)));
        assert!(poll!(&mut waiter.1).is_pending(), "no permit is free");
        waiters.push(waiter);
    }
    waiters
}

/// The order in which the waiters in `queue` get the only permit.
async fn order(queue: &[Priority]) -> String {
    let permits = Permits::new(1);
    let mut held = permits.acquire(Del).await;
    let mut waiters = waiters(&permits, queue).await;
    let mut order = String::new();
    while !waiters.is_empty() {
        drop(held);
        let mut granted = Vec::new();
        for (index, (_, waiter)) in waiters.iter_mut().enumerate() {
            if let Poll::Ready(permit) = poll!(waiter) {
                granted.push((index, permit));
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
    let first = permits.acquire(Add).await;
    let _second = permits.acquire(Add).await;
    let mut third = waiters(&permits, &[Add]).await;
    drop(first);
    assert!(poll!(&mut third[0].1).is_ready());
    // A configured 0 counts as 1.
    drop(Permits::new(0).acquire(Add).await);
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
    let held = permits.acquire(Add).await;
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
    assert!(poll!(Box::pin(permits.acquire(Recovery))).is_ready());
}
