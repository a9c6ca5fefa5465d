use super::*;

fn pod(name: &str, uid: &str, networks: &str) -> Arc<Pod> {
    Arc::new(Pod {
        name: name.to_owned(),
        namespace: "ns".to_owned(),
        uid: uid.to_owned(),
        annotations: [(NETWORKS.to_owned(), networks.to_owned())].into(),
    })
}

fn name(name: &str) -> PodName {
    ("ns".to_owned(), name.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_due_once_for_each_state_of_its_annotation() {
    let mut pods = Pods::default();
    let web = name("web");
    for networks in ["a", "a,b"] {
        pods.update(&[pod("web", "1", networks)], 0);
        assert_eq!(pods.take_due(), [name("web")]);
        assert!(pods.take_due().is_empty(), "the round runs");
        pods.finished(&web, Outcome::Changed);
        pods.update(&[pod("web", "1", networks)], 1);
        assert!(pods.take_due().is_empty(), "nothing has changed");
    }
    pods.mark_attached(&[name("web"), name("unknown")].into());
    assert_eq!(pods.take_due(), [name("web")]);
    // A pod of the same name, and a change, during the round.
    pods.update(&[pod("web", "2", "a,b")], 1);
    assert!(pods.take_due().is_empty(), "one round at a time");
    pods.finished(&web, Outcome::Unchanged);
    assert_eq!(pods.take_due(), [web]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_round_is_repeated_with_growing_pauses() {
    let mut pods = Pods::default();
    let web = name("web");
    let current = [pod("web", "1", "a")];
    let mut pauses = Vec::new();
    for _ in 0..20 {
        pods.update(&current, 0);
        assert_eq!(pods.take_due(), [name("web")]);
        pods.finished(&web, Outcome::Failed("no address".to_owned()));
        assert_eq!(pods.pending(), 1);
        let retry = pods.next_retry().expect("a retry");
        pauses.push(retry - Instant::now());
        tokio::time::advance(retry - Instant::now()).await;
    }
    assert!(pauses[0] <= Duration::from_secs(1), "{pauses:?}");
    assert!(pauses[19] >= LONGEST_PAUSE / 2 && pauses[19] <= LONGEST_PAUSE);
    // A change of the annotation is not delayed, and the pauses start over.
    pods.take_due();
    pods.finished(&web, Outcome::Failed("no address".to_owned()));
    pods.update(&[pod("web", "1", "b")], 0);
    assert_eq!(pods.take_due(), [name("web")]);
    pods.finished(&web, Outcome::Failed("no address".to_owned()));
    let retry = pods.next_retry().expect("a retry");
    assert!(retry - Instant::now() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_tried_again_when_a_definition_changes() {
    let mut pods = Pods::default();
    let web = name("web");
    let current = [pod("web", "1", "a"), pod("other", "2", "a")];
    pods.update(&current, 5);
    assert_eq!(pods.take_due().len(), 2);
    pods.finished(&web, Outcome::Refused("no definition".to_owned()));
    pods.finished(&name("other"), Outcome::Changed);
    assert_eq!((pods.pending(), pods.next_retry()), (1, None));
    pods.update(&current, 5);
    assert!(pods.take_due().is_empty());
    pods.update(&current, 6);
    assert_eq!(pods.take_due(), [name("web")]);
    // A pod that is gone is forgotten after its round.
    pods.update(&[], 6);
    pods.finished(&web, Outcome::Refused("no definition".to_owned()));
    pods.update(&[], 6);
    assert_eq!(pods.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_state_and_the_error_of_a_round_are_known_until_the_pod_has_its_networks() {
    let mut pods = Pods::default();
    let web = name("web");
    let status = |pods: &Pods| pods.unsettled().remove("ns/web");
    let refused = || Outcome::Refused("no definition".to_owned());
    pods.update(&[pod("web", "1", "a")], 0);
    assert_eq!(status(&pods), None);
    pods.take_due();
    tokio::time::advance(Duration::from_secs(7)).await;
    let mut expected = RoundStatus {
        state: RoundState::Running,
        age_seconds: 7,
        retry_seconds: None,
        error: None,
    };
    assert_eq!(status(&pods).as_ref(), Some(&expected));
    pods.finished(&web, refused());
    (expected.state, expected.age_seconds) = (RoundState::Refused, 0);
    expected.error = Some("no definition".to_owned());
    assert_eq!(status(&pods).as_ref(), Some(&expected));
    // A changed definition does not make the error obsolete, but a changed annotation does.
    pods.update(&[pod("web", "1", "a")], 1);
    pods.take_due();
    expected.state = RoundState::Running;
    assert_eq!(status(&pods).as_ref(), Some(&expected));
    pods.update(&[pod("web", "1", "b")], 1);
    assert_eq!(status(&pods).and_then(|status| status.error), None);
    for _ in 0..10 {
        pods.finished(&web, Outcome::Failed("x".repeat(5000)));
        pods.take_due();
    }
    pods.finished(&web, Outcome::Failed("x".repeat(5000)));
    let failed = status(&pods).expect("a failed round");
    assert_eq!(failed.state, RoundState::Failed);
    assert!(failed.retry_seconds > Some(0), "{failed:?}");
    assert_eq!(failed.error.map(|error| error.len()), Some(1024));
    pods.take_due();
    pods.finished(&web, Outcome::Changed);
    assert_eq!(status(&pods), None);
}
