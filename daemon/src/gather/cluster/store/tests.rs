use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Definition, Store};
use crate::plan::Pod;

fn pod(name: &str) -> Pod {
    Pod { namespace: "ns".into(), name: name.into(), ..Pod::default() }
}

fn definition(name: &str) -> Definition {
    Definition { namespace: "ns".into(), name: name.into(), ..Definition::default() }
}

#[test]
fn what_is_not_in_the_latest_content_is_gone() {
    let store = Store::default();
    assert!(!store.synced());
    store.replace(vec![pod("a"), pod("b")], vec![definition("n")]);
    assert!(store.synced());
    assert_eq!(store.pod("ns", "a").as_deref(), Some(&pod("a")));
    assert_eq!(store.pod("other", "a"), None);
    assert_eq!(store.definition("ns", "n").as_deref(), Some(&definition("n")));
    let clone = store.clone();
    clone.replace(vec![pod("b")], Vec::new());
    assert_eq!((store.pod("ns", "a"), store.definition("ns", "n")), (None, None));
    assert!(store.pod("ns", "b").is_some(), "clones are the same store");
}

#[test]
fn readers_share_one_value() {
    let store = Store::default();
    store.replace(vec![pod("a")], Vec::new());
    let (first, second) = (store.pod("ns", "a").expect("first"), store.pod("ns", "a").expect("second"));
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_when_it_appears_or_at_the_deadline() {
    let store = Store::default();
    let deadline = Instant::now() + Duration::from_secs(10);
    let (found, also, ()) =
        tokio::join!(store.wait_pod("ns", "a", deadline), store.wait_definition("ns", "n", deadline), async {
            // A change that brings neither does not end the wait.
            store.replace(vec![pod("b")], vec![definition("m")]);
            tokio::task::yield_now().await;
            store.replace(vec![pod("a")], vec![definition("n")]);
        });
    assert_eq!((found.as_deref(), also.as_deref()), (Some(&pod("a")), Some(&definition("n"))));
    assert!(Instant::now() < deadline, "it did not wait for the deadline");

    assert_eq!(store.wait_pod("ns", "never", deadline).await, None);
    assert_eq!(Instant::now(), deadline);
    let past = Instant::now();
    assert!(store.wait_pod("ns", "a", past).await.is_some(), "a deadline in the past still looks");
    assert!(store.wait_definition("ns", "never", past).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost() {
    for _ in 0..200 {
        let store = Store::default();
        let waiter = tokio::spawn({
            let store = store.clone();
            async move { store.wait_pod("ns", "a", Instant::now() + Duration::from_mins(1)).await }
        });
        store.replace(vec![pod("a")], Vec::new());
        assert!(waiter.await.expect("no panic").is_some());
    }
}

#[tokio::test]
async fn synced_is_waited_for() {
    let store = Store::default();
    tokio::join!(store.wait_synced(), async { store.replace(Vec::new(), Vec::new()) });
    assert!(store.synced());
}
