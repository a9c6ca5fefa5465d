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

fn running_pod() -> PodSummary {
    PodSummary {
        uid: "uid-p".into(),
        host_network: false,
        node: None,
        network_status: None,
        is_running: true,
        has_ended: false,
    }
}

fn pod_ref() -> PodRef {
    PodRef {
        namespace: "ns".into(),
        name: "p".into(),
        uid: "uid-p".into(),
        is_static: false,
    }
}

#[test]
fn only_a_pod_that_certainly_runs_without_its_networks_is_reported() {
    let judge = |current| lacks_networks(&pod_ref(), Some(&current));
    assert_eq!(judge(running_pod()), Some(true));
    assert_eq!(lacks_networks(&pod_ref(), None), Some(false), "deleted");
    assert_eq!(
        judge(PodSummary {
            uid: "other".into(),
            ..running_pod()
        }),
        Some(false)
    );
    assert_eq!(
        judge(PodSummary {
            host_network: true,
            ..running_pod()
        }),
        Some(false)
    );
    assert_eq!(
        judge(PodSummary {
            network_status: Some("[]".into()),
            ..running_pod()
        }),
        Some(false)
    );
    assert_eq!(
        judge(PodSummary {
            is_running: false,
            ..running_pod()
        }),
        None,
        "pending or finished; this may change"
    );
}

#[test]
fn pods_that_ask_for_no_network_are_not_fetched() {
    let static_pod = [(NETWORKS, "a"), ("kubernetes.io/config.source", "file")];
    for (annotations, asks) in [
        (&[(NETWORKS, "a")][..], true),
        (&[], false),
        (&[(NETWORKS, "")], false),
        (&[(NETWORKS, "[]")], false),
        (&[(NETWORKS, "{")], false),
        (&static_pod, false),
    ] {
        assert_eq!(
            asks_for_networks(&pod("p", annotations)),
            asks,
            "{annotations:?}"
        );
    }
}

#[test]
fn a_pod_is_fetched_after_the_gap_and_then_with_increasing_pauses() {
    let (audit, start) = (Audit::default(), Instant::now());
    let pods = [pod("p", &[(NETWORKS, "a")])];
    let due = |after: Duration| audit.update(&pods, &[], GAP, start + after).0;
    assert_eq!(due(Duration::ZERO), []);
    assert_eq!(due(GAP / 2), []);
    assert_eq!(due(GAP), [pod_ref()]);
    audit
        .unrecorded()
        .get_mut("uid-p")
        .expect("listed")
        .fetch_count = 1;
    assert_eq!(due(GAP), []);
    assert_eq!(due(2 * GAP), [pod_ref()]);
    // A pod that is known to lack its networks is counted until it is deleted.
    audit
        .unrecorded()
        .get_mut("uid-p")
        .expect("listed")
        .lacks_networks = Some(true);
    assert_eq!(audit.update(&pods, &[], GAP, start + 9 * GAP), (vec![], 1));
    assert_eq!(audit.update(&[], &[], GAP, start + 9 * GAP), (vec![], 0));
    assert_eq!(
        due(10 * GAP),
        [],
        "the gap of a pod that is listed again starts over"
    );
}
