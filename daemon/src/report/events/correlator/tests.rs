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

fn created(name: &str) -> Action {
    Action::Create(name.to_owned())
}

#[test]
fn a_repeated_event_increments_the_count() {
    let now = Instant::now();
    let mut correlator = Correlator::new(now);
    let mut correlate =
        |event: &Event, name: &str| correlator.correlate(event, || name.to_owned(), now);
    assert_eq!(correlate(&event("a", "x"), "1"), created("1"));
    assert_eq!(
        correlate(&event("a", "x"), "2"),
        Action::SetCount("1".to_owned(), 2)
    );
    assert_eq!(correlate(&event("a", "y"), "3"), created("3"));
    assert_eq!(correlate(&event("b", "x"), "4"), created("4"));
    let other = Event {
        reason: EventReason::DetachFailed,
        ..event("a", "x")
    };
    assert_eq!(correlate(&other, "5"), created("5"));
    assert_eq!(
        correlate(&event("a", "x"), "6"),
        Action::SetCount("1".to_owned(), 3)
    );
    correlator.forget(&event("a", "x"));
    assert_eq!(
        correlator.correlate(&event("a", "x"), || "7".to_owned(), now),
        created("7")
    );
}

#[test]
fn one_pod_reaches_its_limit_and_others_do_not() {
    let now = Instant::now();
    let mut correlator = Correlator::new(now);
    for index in 0..SUBJECT_LIMIT.burst {
        let event = event("a", &index.to_string());
        assert_eq!(
            correlator.correlate(&event, || "n".to_owned(), now),
            created("n"),
            "{index}"
        );
    }
    assert_eq!(
        correlator.correlate(&event("a", "more"), || "n".to_owned(), now),
        Action::Drop
    );
    assert_eq!(
        correlator.correlate(&event("b", "more"), || "n".to_owned(), now),
        created("n")
    );
    let later = now + SUBJECT_LIMIT.refill;
    assert_eq!(
        correlator.correlate(&event("a", "more"), || "n".to_owned(), later),
        created("n")
    );
    assert_eq!(
        correlator.correlate(&event("a", "and more"), || "n".to_owned(), later),
        Action::Drop
    );
}

#[test]
fn all_pods_together_are_throttled() {
    let now = Instant::now();
    let mut correlator = Correlator::new(now);
    for index in 0..TOTAL_LIMIT.burst {
        assert_eq!(correlator.throttle(now), Duration::ZERO, "{index}");
    }
    assert_eq!(correlator.throttle(now), TOTAL_LIMIT.refill);
    assert_eq!(
        correlator.throttle(now + TOTAL_LIMIT.refill),
        Duration::ZERO
    );
    assert!(correlator.throttle(now + TOTAL_LIMIT.refill) > Duration::ZERO);
}

#[test]
fn the_number_of_remembered_events_is_bounded() {
    let now = Instant::now();
    let mut correlator = Correlator::new(now);
    for index in 0..MAX_SUBJECTS + 10 {
        correlator.correlate(&event(&index.to_string(), "x"), || "n".to_owned(), now);
    }
    assert_eq!(correlator.subjects.len(), MAX_SUBJECTS);
    for index in 0..MAX_EVENTS + 10 {
        correlator.correlate(&event("a", &index.to_string()), || "n".to_owned(), now);
    }
    assert_eq!(
        correlator.subjects.back().expect("a pod").events.len(),
        MAX_EVENTS
    );
}
