use std::pin::Pin;
use std::task::Poll;

use futures_util::poll;

use super::Priority::{Add, Del, Recovery};
use super::*;

type Waiter<'a> = (Priority, Pin<Box<dyn Future<Output = Permit> + 'a>>);

async fn waiters<'a>(slots: &'a Permits, queue: &[Priority]) -> Vec<Waiter<'a>> {
    let mut waiters: Vec<Waiter<'a>> = Vec::new();
    for &priority in queue {
        let mut waiter: Waiter<'a> = (priority, Box::pin(slots.take(priority)));
        assert!(poll!(&mut waiter.1).is_pending(), "there is no slot left");
        waiters.push(waiter);
    }
    waiters
}

/// The order in which one slot goes round those who wait in `queue`.
async fn order(queue: &[Priority]) -> String {
    let slots = Permits::new(1);
    let mut held = slots.take(Del).await;
    let mut waiters = waiters(&slots, queue).await;
    let mut order = String::new();
    while !waiters.is_empty() {
        drop(held);
        let mut granted = Vec::new();
        for (index, (_, waiter)) in waiters.iter_mut().enumerate() {
            if let Poll::Ready(slot) = poll!(waiter) {
                granted.push((index, slot));
            }
        }
        assert_eq!(granted.len(), 1, "one slot, one holder");
        let (index, slot) = granted.remove(0);
        order.push_str(match waiters.remove(index).0 {
            Del => "D",
            Add => "A",
            Recovery => "R",
        });
        held = slot;
    }
    order
}

#[tokio::test]
async fn only_so_many_hold_a_slot() {
    let slots = Permits::new(2);
    let first = slots.take(Add).await;
    let _second = slots.take(Add).await;
    let mut third = waiters(&slots, &[Add]).await;
    drop(first);
    assert!(poll!(&mut third[0].1).is_ready());
    // A configured 0 must not stop everything.
    drop(Permits::new(0).take(Add).await);
}

#[tokio::test]
async fn del_goes_before_add_before_recovery() {
    assert_eq!(
        order(&[Recovery, Add, Del, Recovery, Add, Del]).await,
        "DDAARR"
    );
}

#[tokio::test]
async fn nobody_starves() {
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
        "even the last class has its turn under full load"
    );
}

#[tokio::test]
async fn who_stops_waiting_leaves_no_hole() {
    // Given two who wait, when the first gives up before its turn, then the second gets the slot.
    let slots = Permits::new(1);
    let held = slots.take(Add).await;
    let mut waiters = waiters(&slots, &[Del, Add]).await;
    drop(waiters.remove(0));
    drop(held);
    let Poll::Ready(held) = poll!(&mut waiters[0].1) else {
        panic!("the second has its turn")
    };

    // When one gives up after the grant, before it has taken it, then the slot is free again.
    let late = self::waiters(&slots, &[Del]).await;
    drop(held);
    drop(late);
    assert!(poll!(Box::pin(slots.take(Recovery))).is_ready());
}
