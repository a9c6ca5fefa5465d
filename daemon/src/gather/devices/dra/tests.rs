use plexus_api::rows;

use super::*;

fn set(ids: &[&str]) -> BTreeSet<PodDevice> {
    ids.iter().copied().map(PodDevice::whole).collect()
}

#[test]
fn devices_of_plugins_and_of_claims_are_merged_and_sorted() {
    rows!("D-067");
    let merged = merge(Allocation::Devices(set(&["b"])), set(&["a"]), 2, None);
    assert_eq!(merged, Allocation::Devices(set(&["a", "b"])));
    for allocation in [
        Allocation::NoDevice,
        Allocation::NotADevice,
        Allocation::Unknown("no kubelet".into()),
    ] {
        let merged = merge(allocation, set(&["a"]), 1, Some("problem".into()));
        assert_eq!(merged, Allocation::Devices(set(&["a"])), "enough devices");
    }
}

#[test]
fn a_problem_counts_only_if_there_are_too_few_devices() {
    rows!("D-067", "D-068");
    let problem = || Some("problem".to_owned());
    assert_eq!(
        merge(Allocation::Devices(set(&["a"])), set(&[]), 1, problem()),
        Allocation::Devices(set(&["a"]))
    );
    assert_eq!(
        merge(Allocation::Devices(set(&["a"])), set(&[]), 2, problem()),
        Allocation::Incomplete(set(&["a"]), "problem".into())
    );
    for allocation in [Allocation::NoDevice, Allocation::NotADevice] {
        assert_eq!(
            merge(allocation.clone(), set(&[]), 1, problem()),
            Allocation::Unknown("problem".into())
        );
        assert_eq!(merge(allocation.clone(), set(&[]), 1, None), allocation);
    }
    assert_eq!(
        merge(
            Allocation::Unknown("no kubelet".into()),
            set(&["a"]),
            2,
            problem()
        ),
        Allocation::Incomplete(set(&["a"]), "no kubelet; problem".into())
    );
    assert_eq!(
        merge(Allocation::NoDevice, set(&["a"]), 2, None),
        Allocation::Devices(set(&["a"])),
        "the plan says how many are missing"
    );
}
