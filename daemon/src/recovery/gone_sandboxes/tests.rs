use super::*;

const GAP: Duration = Duration::from_mins(1);

fn sandbox(id: usize, boot: &str, netns: Option<u64>) -> RecordedSandbox {
    RecordedSandbox {
        key: key(id),
        boot_id: boot.to_owned(),
        netns: netns.map(netns_id),
        expected_missing: false,
        attached: true,
    }
}

fn netns_id(ino: u64) -> NetnsId {
    NetnsId {
        dev: 4,
        ino,
        cookie: None,
    }
}

fn key(id: usize) -> RecordKey {
    RecordKey::new(&format!("c{id}"), "eth0")
}

/// `count` sandboxes of this boot with the network namespaces 0, 1, …
fn sandboxes(count: usize) -> Vec<RecordedSandbox> {
    (0..count)
        .map(|id| sandbox(id, "now", Some(id as u64)))
        .collect()
}

fn judge_at(
    now: Instant,
    sandboxes: &[RecordedSandbox],
    existing: &[u64],
    missing: &MissingSandboxes,
) -> Judgement {
    let existing = existing.iter().copied().map(netns_id).collect();
    judge(sandboxes, "now", &existing, missing, now, GAP)
}

fn judge_first(sandboxes: &[RecordedSandbox], existing: &[u64]) -> Judgement {
    judge_at(
        Instant::now(),
        sandboxes,
        existing,
        &MissingSandboxes::default(),
    )
}

#[test]
fn another_boot_is_proof_at_once() {
    let records = [
        sandbox(1, "before", Some(7)),
        sandbox(2, "before", None),
        sandbox(3, "now", Some(7)),
    ];
    let judgement = judge_first(&records, &[7]);
    assert_eq!(
        judgement.gone,
        [key(1), key(2)],
        "the inode may have been reused"
    );
    assert_eq!(judgement.missing, MissingSandboxes::new());
}

#[test]
fn a_reboot_is_not_a_mass_loss() {
    let records: Vec<_> = (0..50).map(|id| sandbox(id, "before", Some(1))).collect();
    let judgement = judge_first(&records, &[]);
    assert_eq!((judgement.gone.len(), judgement.mass_loss), (50, None));
}

#[test]
fn a_missing_netns_is_proof_at_the_second_scan_after_the_gap() {
    let (records, start) = (sandboxes(1), Instant::now());
    let first = judge_at(start, &records, &[], &MissingSandboxes::new());
    assert_eq!(first.gone, [] as [RecordKey; 0]);
    let too_soon = judge_at(start + GAP.mul_f32(0.9), &records, &[], &first.missing);
    assert_eq!(too_soon.gone, [] as [RecordKey; 0]);
    let later = judge_at(start + GAP, &records, &[], &too_soon.missing);
    assert_eq!(
        later.gone,
        [key(0)],
        "a scan in between does not restart the gap"
    );
    let again = judge_at(start + GAP, &records, &[], &later.missing);
    assert_eq!(
        again.gone,
        [key(0)],
        "the sandbox stays gone while its record exists"
    );
}

#[test]
fn a_gap_of_zero_still_needs_a_second_scan() {
    let (records, now) = (sandboxes(1), Instant::now());
    let judge = |missing: &MissingSandboxes| {
        judge(
            &records,
            "now",
            &BTreeSet::new(),
            missing,
            now,
            Duration::ZERO,
        )
    };
    let first = judge(&MissingSandboxes::new());
    assert_eq!(first.gone, [] as [RecordKey; 0]);
    assert_eq!(judge(&first.missing).gone, [key(0)]);
}

#[test]
fn a_netns_that_is_found_again_restarts_the_gap() {
    let (records, start) = (sandboxes(1), Instant::now());
    let first = judge_at(start, &records, &[], &MissingSandboxes::new());
    let found = judge_at(start + GAP, &records, &[0], &first.missing);
    assert_eq!(found, Judgement::default());
    let missing = judge_at(start + GAP * 2, &records, &[], &found.missing);
    assert_eq!(missing.gone, [] as [RecordKey; 0]);
}

#[test]
fn another_sandbox_with_the_same_key_starts_its_own_gap() {
    let start = Instant::now();
    let first = judge_at(
        start,
        &[sandbox(1, "now", Some(1))],
        &[],
        &MissingSandboxes::new(),
    );
    let second = judge_at(
        start + GAP,
        &[sandbox(1, "now", Some(2))],
        &[],
        &first.missing,
    );
    assert_eq!(second.gone, [] as [RecordKey; 0]);
    assert_eq!(
        second.missing[&key(1)],
        MissingSandbox {
            netns: netns_id(2),
            since: start + GAP
        }
    );
}

#[test]
fn without_an_inode_there_is_no_proof_in_this_boot() {
    let records = [sandbox(1, "now", None)];
    assert_eq!(judge_first(&records, &[]), Judgement::default());
}

#[test]
fn sandboxes_of_deleted_pods_do_not_count_towards_a_mass_loss() {
    // Of 30 sandboxes 24 are missing, `with_pod` of them with a pod that exists.
    for (with_pod, plausible) in [(0, true), (4, true), (6, true), (7, false)] {
        let (mut records, start) = (sandboxes(30), Instant::now());
        records
            .iter_mut()
            .take(24 - with_pod)
            .for_each(|sandbox| sandbox.expected_missing = true);
        let existing: Vec<_> = (24..30).collect();
        let first = judge_at(start, &records, &existing, &MissingSandboxes::new());
        let second = judge_at(start + GAP, &records, &existing, &first.missing);
        assert_eq!(
            second.gone.len(),
            if plausible { 24 } else { 0 },
            "{with_pod} with a pod"
        );
        assert_eq!(
            second.mass_loss.map(|mass_loss| mass_loss.missing),
            (!plausible).then_some(with_pod)
        );
    }
}

#[test]
fn a_deleted_pod_alone_is_not_proof() {
    let mut records = sandboxes(1);
    records[0].expected_missing = true;
    assert_eq!(judge_first(&records, &[0]), Judgement::default());
}

#[test]
fn too_many_missing_sandboxes_are_a_mass_loss() {
    for (total, missing, plausible) in [
        (1, 1, true),
        (4, 4, true),
        (5, 5, false),
        (24, 5, false),
        (25, 5, true),
        (100, 20, true),
        (100, 21, false),
    ] {
        let (records, start) = (sandboxes(total), Instant::now());
        let existing: Vec<_> = (missing as u64..total as u64).collect();
        // The first sandbox was already missing before the others.
        let missing_before = MissingSandboxes::from([(
            key(0),
            MissingSandbox {
                netns: netns_id(0),
                since: start,
            },
        )]);
        let judgement = judge_at(start + GAP, &records, &existing, &missing_before);
        let case = format!("{missing} of {total}");
        if plausible {
            assert_eq!(judgement.gone, [key(0)], "{case}");
            assert_eq!(
                (judgement.missing.len(), judgement.mass_loss),
                (missing, None),
                "{case}"
            );
        } else {
            let mass_loss = Some(MassLoss { missing, total });
            assert_eq!(
                judgement,
                Judgement {
                    mass_loss,
                    ..Judgement::default()
                },
                "{case}"
            );
        }
    }
}

#[test]
fn earlier_boots_do_not_count_towards_a_mass_loss() {
    let mut records = sandboxes(5);
    records.extend((5..100).map(|id| sandbox(id, "before", None)));
    let judgement = judge_first(&records, &[]);
    assert_eq!(
        judgement.mass_loss,
        Some(MassLoss {
            missing: 5,
            total: 5
        })
    );
    assert_eq!(judgement.gone.len(), 95);
}

#[test]
fn sandboxes_that_are_not_attached_are_judged_but_do_not_count_for_a_mass_loss() {
    let mut records = sandboxes(100);
    for record in &mut records[10..] {
        record.expected_missing = true;
        record.attached = false;
    }
    let start = Instant::now();
    let first = judge_at(start, &records, &[], &MissingSandboxes::new());
    let expected = MassLoss {
        missing: 10,
        total: 10,
    };
    assert_eq!(first.mass_loss, Some(expected));
    let existing: Vec<_> = (0..10).collect();
    let first = judge_at(start, &records, &existing, &MissingSandboxes::new());
    let second = judge_at(start + GAP, &records, &existing, &first.missing);
    assert_eq!((second.gone.len(), second.mass_loss), (90, None));
}
