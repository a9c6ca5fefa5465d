use super::*;
use crate::model::PodRef;

fn event(pod: &str, message: &str) -> Event {
    let pod = PodRef {
        namespace: "ns".to_owned(),
        name: pod.to_owned(),
        ..PodRef::default()
    };
    Event {
        subject: Subject::Pod(pod),
        reason: EventReason::AttachFailed,
        message: message.to_owned(),
    }
}

fn created(name: &str) -> Decision {
    Decision::Create(name.to_owned())
}

#[test]
fn the_same_again_counts_up() {
    let now = Instant::now();
    let mut limits = Limits::new(now);
    let mut decide = |event: &Event, name: &str| limits.decide(event, || name.to_owned(), now);
    assert_eq!(decide(&event("a", "x"), "1"), created("1"));
    assert_eq!(
        decide(&event("a", "x"), "2"),
        Decision::Repeat("1".to_owned(), 2)
    );
    assert_eq!(decide(&event("a", "y"), "3"), created("3"));
    assert_eq!(decide(&event("b", "x"), "4"), created("4"));
    let other = Event {
        reason: EventReason::DetachFailed,
        ..event("a", "x")
    };
    assert_eq!(decide(&other, "5"), created("5"));
    assert_eq!(
        decide(&event("a", "x"), "6"),
        Decision::Repeat("1".to_owned(), 3)
    );
    limits.forget(&event("a", "x"));
    assert_eq!(
        limits.decide(&event("a", "x"), || "7".to_owned(), now),
        created("7")
    );
}

#[test]
fn a_pod_that_floods_is_cut_off_and_the_others_are_not() {
    let now = Instant::now();
    let mut limits = Limits::new(now);
    for index in 0..POD.0 {
        let event = event("a", &index.to_string());
        assert_eq!(
            limits.decide(&event, || "n".to_owned(), now),
            created("n"),
            "{index}"
        );
    }
    assert_eq!(
        limits.decide(&event("a", "more"), || "n".to_owned(), now),
        Decision::Drop
    );
    assert_eq!(
        limits.decide(&event("b", "more"), || "n".to_owned(), now),
        created("n")
    );
    let later = now + POD.1;
    assert_eq!(
        limits.decide(&event("a", "more"), || "n".to_owned(), later),
        created("n")
    );
    assert_eq!(
        limits.decide(&event("a", "and more"), || "n".to_owned(), later),
        Decision::Drop
    );
}

#[test]
fn all_pods_together_are_slowed_down() {
    let now = Instant::now();
    let mut limits = Limits::new(now);
    for index in 0..ALL.0 {
        assert_eq!(limits.pace(now), Duration::ZERO, "{index}");
    }
    assert_eq!(limits.pace(now), ALL.1);
    assert_eq!(limits.pace(now + ALL.1), Duration::ZERO);
    assert!(limits.pace(now + ALL.1) > Duration::ZERO);
}

#[test]
fn the_memory_is_bounded() {
    let now = Instant::now();
    let mut limits = Limits::new(now);
    for index in 0..PODS + 10 {
        limits.decide(&event(&index.to_string(), "x"), || "n".to_owned(), now);
    }
    assert_eq!(limits.pods.len(), PODS);
    for index in 0..EVENTS + 10 {
        limits.decide(&event("a", &index.to_string()), || "n".to_owned(), now);
    }
    assert_eq!(limits.pods.back().expect("a pod").seen.len(), EVENTS);
}
