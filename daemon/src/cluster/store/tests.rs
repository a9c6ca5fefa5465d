use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Definition, Store};
use crate::model::{Pod, PodRef};

fn pod(name: &str) -> Pod {
    Pod {
        namespace: "ns".into(),
        name: name.into(),
        ..Pod::default()
    }
}

fn definition(name: &str) -> Definition {
    Definition {
        namespace: "ns".into(),
        name: name.into(),
        ..Definition::default()
    }
}

fn any(_: &Pod) -> bool {
    true
}

#[test]
fn replacing_the_content_removes_missing_objects() {
    let store = Store::default();
    assert!(!store.is_synced());
    store.replace(vec![pod("a"), pod("b")], vec![definition("n")]);
    assert!(store.is_synced());
    assert_eq!(store.pod("ns", "a").as_deref(), Some(&pod("a")));
    assert_eq!(store.pod("other", "a"), None);
    assert_eq!(
        store.definition("ns", "n").as_deref(),
        Some(&definition("n"))
    );
    let clone = store.clone();
    clone.replace(vec![pod("b")], Vec::new());
    assert_eq!(
        (store.pod("ns", "a"), store.definition("ns", "n")),
        (None, None)
    );
    assert!(store.pod("ns", "b").is_some(), "clones are the same store");
}

#[test]
fn a_pod_is_absent_only_after_the_source_has_listed_the_pods() {
    let store = Store::default();
    let pod_ref = |uid: &str, is_static| PodRef {
        namespace: "ns".into(),
        name: "a".into(),
        uid: uid.into(),
        is_static,
    };
    store.load_snapshot(vec![definition("n")], SystemTime::now());
    assert!(
        store.is_synced() && !store.pod_is_absent(&pod_ref("1", false)),
        "a snapshot has no pods"
    );
    store.replace(
        vec![Pod {
            uid: "1".into(),
            ..pod("a")
        }],
        Vec::new(),
    );
    for (uid, is_static, absent) in [
        ("1", false, false),
        ("2", false, true),
        ("", false, false),
        ("2", true, false),
    ] {
        assert_eq!(
            store.pod_is_absent(&pod_ref(uid, is_static)),
            absent,
            "{uid:?} {is_static}"
        );
    }
    store.remove::<Pod>("ns", "a");
    assert!(store.pod_is_absent(&pod_ref("1", false)) && store.pod_is_absent(&pod_ref("1", true)));
}

#[test]
fn readers_share_one_value() {
    let store = Store::default();
    store.replace(vec![pod("a")], Vec::new());
    let (first, second) = (
        store.pod("ns", "a").expect("first"),
        store.pod("ns", "a").expect("second"),
    );
    assert!(Arc::ptr_eq(&first, &second));
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_the_object_appears_or_at_the_deadline() {
    let store = Store::default();
    let deadline = Instant::now() + Duration::from_secs(10);
    let (found, also, ()) = tokio::join!(
        store.wait_pod("ns", "a", deadline, any),
        store.wait_definition("ns", "n", deadline),
        async {
            // A change without these objects does not end the wait.
            store.replace(vec![pod("b")], vec![definition("m")]);
            tokio::task::yield_now().await;
            store.replace(vec![pod("a")], vec![definition("n")]);
        }
    );
    assert_eq!(
        (found.as_deref(), also.as_deref()),
        (Some(&pod("a")), Some(&definition("n")))
    );
    assert!(
        Instant::now() < deadline,
        "the wait ended before the deadline"
    );

    assert_eq!(store.wait_pod("ns", "never", deadline, any).await, None);
    assert_eq!(Instant::now(), deadline);
    let past = Instant::now();
    assert!(
        store.wait_pod("ns", "a", past, any).await.is_some(),
        "a deadline in the past still looks"
    );
    assert!(store.wait_definition("ns", "never", past).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost() {
    for _ in 0..200 {
        let store = Store::default();
        let waiter = tokio::spawn({
            let store = store.clone();
            async move {
                store
                    .wait_pod("ns", "a", Instant::now() + Duration::from_mins(1), any)
                    .await
            }
        });
        store.replace(vec![pod("a")], Vec::new());
        assert!(waiter.await.expect("no panic").is_some());
    }
}

#[test]
fn the_store_is_synced_when_both_kinds_are() {
    let store = Store::default();
    store.replace_all(vec![pod("a")]);
    assert!(!store.is_synced());
    store.replace_all(vec![definition("n")]);
    assert!(store.is_synced());

    let store = Store::default();
    store.mark_kind_missing::<Definition>();
    assert!(!store.is_synced());
    store.replace_all::<Pod>(Vec::new());
    assert!(store.is_synced(), "a cluster without definitions");
    store.apply(definition("n"));
    store.mark_kind_missing::<Definition>();
    assert!(store.definition("ns", "n").is_some(), "known objects stay");
}

#[test]
fn one_kind_is_replaced_without_the_other() {
    let store = Store::default();
    store.replace(vec![pod("a")], vec![definition("n")]);
    store.replace_all(vec![pod("b")]);
    assert!(
        store.pod("ns", "a").is_none()
            && store.pod("ns", "b").is_some()
            && store.definition("ns", "n").is_some()
    );
    store.replace_all::<Definition>(Vec::new());
    assert!(store.pod("ns", "b").is_some() && store.definition("ns", "n").is_none());
}

#[tokio::test]
async fn objects_are_applied_and_removed_one_by_one() {
    let store = Store::default();
    store.replace(Vec::new(), Vec::new());
    let waiting = tokio::spawn({
        let store = store.clone();
        let uid = |pod: &Pod| pod.uid == "new";
        async move {
            store
                .wait_pod("ns", "a", Instant::now() + Duration::from_mins(1), uid)
                .await
        }
    });
    store.apply(Pod {
        uid: "old".into(),
        ..pod("a")
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "the pod has another UID");
    store.apply(Pod {
        uid: "new".into(),
        ..pod("a")
    });
    assert_eq!(
        waiting
            .await
            .expect("no panic")
            .expect("the pod appeared")
            .uid,
        "new"
    );
    store.remove::<Pod>("ns", "a");
    store.remove::<Pod>("ns", "never");
    assert_eq!(store.pod("ns", "a"), None);
}

#[tokio::test]
async fn an_unchanged_object_wakes_no_reader() {
    let store = Store::default();
    store.replace(vec![pod("a")], vec![definition("n")]);
    let version = store.wait_definitions_version(|_| true).await;
    let mut changes = store.0.subscribe();
    store.apply(pod("a"));
    store.apply(definition("n"));
    store.remove::<Pod>("ns", "never");
    assert!(!changes.has_changed().expect("the store exists"));
    store.apply(Definition {
        config: Some("{}".into()),
        ..definition("n")
    });
    assert!(changes.has_changed().expect("the store exists"));
    changes.mark_unchanged();
    assert!(store.wait_definitions_version(|_| true).await.revision > version.revision);
    let version = store.wait_definitions_version(|_| true).await;
    store.replace_all(vec![Definition {
        config: Some("{}".into()),
        ..definition("n")
    }]);
    assert_eq!(
        store.wait_definitions_version(|_| true).await.revision,
        version.revision,
        "the list has no changes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_used_until_the_first_list() {
    let store = Store::default();
    let hour = Duration::from_hours(1);
    assert!(!store.wait_definitions(Instant::now()).await);
    assert!(store.load_snapshot(vec![definition("n")], SystemTime::UNIX_EPOCH + hour));
    assert!(store.wait_definitions(Instant::now()).await && store.is_synced());
    assert_eq!(store.snapshot(), Some(SystemTime::UNIX_EPOCH + hour));
    store.replace_all(vec![pod("a")]);
    store.mark_kind_missing::<Definition>();
    assert!(
        store.snapshot().is_some(),
        "only a list ends the use of a snapshot"
    );
    store.replace_all::<Definition>(Vec::new());
    assert_eq!(
        (store.snapshot(), store.definition("ns", "n")),
        (None, None)
    );
    assert!(!store.load_snapshot(vec![definition("n")], SystemTime::UNIX_EPOCH));
}

#[test]
fn a_list_keeps_what_unchanged_definitions_were_parsed_to() {
    let store = Store::default();
    let list = || vec![definition("n"), definition("m")];
    store.replace_all(list());
    let before = store.definition("ns", "n").expect("listed");
    let mut changed = list();
    changed[1].config = Some("{}".to_owned());
    store.replace_all(changed);
    let after = store.definition("ns", "n").expect("listed");
    assert!(Arc::ptr_eq(&before, &after));
    let other = store.definition("ns", "m").expect("listed");
    assert_eq!(other.config.as_deref(), Some("{}"));
}
