use super::*;

const GAP: Duration = Duration::from_mins(1);

fn pod(name: &str, annotations: &[(&str, &str)]) -> Arc<Pod> {
    Arc::new(Pod {
        namespace: "ns".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        annotations: annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    })
}

fn running() -> PodSummary {
    PodSummary {
        uid: "uid-p".into(),
        host_network: false,
        has_network_status: false,
        is_running: true,
    }
}

fn whose() -> PodRef {
    PodRef {
        namespace: "ns".into(),
        name: "p".into(),
        uid: "uid-p".into(),
        is_static: false,
    }
}

#[test]
fn only_a_pod_that_surely_runs_without_its_networks_is_told() {
    let judge = |running| lacks_networks(&whose(), Some(&running));
    assert_eq!(judge(running()), Some(true));
    assert_eq!(lacks_networks(&whose(), None), Some(false), "gone");
    assert_eq!(
        judge(PodSummary {
            uid: "other".into(),
            ..running()
        }),
        Some(false)
    );
    assert_eq!(
        judge(PodSummary {
            host_network: true,
            ..running()
        }),
        Some(false)
    );
    assert_eq!(
        judge(PodSummary {
            has_network_status: true,
            ..running()
        }),
        Some(false)
    );
    // This may change.
    assert_eq!(
        judge(PodSummary {
            is_running: false,
            ..running()
        }),
        None,
        "pending, or finished"
    );
}

#[test]
fn pods_that_ask_for_nothing_are_no_suspects() {
    let static_pod = [(NETWORKS, "a"), (crate::model::CONFIG_SOURCE, "file")];
    for (annotations, suspected) in [
        (&[(NETWORKS, "a")][..], true),
        (&[], false),
        (&[(NETWORKS, "")], false),
        (&[(NETWORKS, "[]")], false),
        (&[(NETWORKS, "{")], false),
        (&static_pod, false),
    ] {
        assert_eq!(
            asks_for_networks(&pod("p", annotations)),
            suspected,
            "{annotations:?}"
        );
    }
}

#[test]
fn a_suspect_is_asked_for_after_the_gap_and_less_and_less_often() {
    let (audit, start) = (Audit::default(), Instant::now());
    let pods = [pod("p", &[(NETWORKS, "a")])];
    let due = |after: Duration| audit.update(&pods, &[], GAP, start + after).0;
    assert_eq!(due(Duration::ZERO), []);
    assert_eq!(due(GAP / 2), []);
    assert_eq!(due(GAP), [whose()]);
    audit
        .unrecorded()
        .get_mut("uid-p")
        .expect("a suspect")
        .fetched = 1;
    assert_eq!(due(GAP), []);
    assert_eq!(due(2 * GAP), [whose()]);
    // When it is known to be unmet, it counts for as long as the pod is there.
    audit
        .unrecorded()
        .get_mut("uid-p")
        .expect("a suspect")
        .lacks_networks = Some(true);
    assert_eq!(audit.update(&pods, &[], GAP, start + 9 * GAP), (vec![], 1));
    assert_eq!(audit.update(&[], &[], GAP, start + 9 * GAP), (vec![], 0));
    assert_eq!(due(10 * GAP), [], "one that comes back begins anew");
}
