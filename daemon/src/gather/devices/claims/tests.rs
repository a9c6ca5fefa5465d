use plexus_api::rows;

use super::*;

const NIC: &str = "nic.example.com";

fn device(claim: &str, name: &str) -> ClaimDevice {
    ClaimDevice {
        namespace: "ns".to_owned(),
        claim: claim.to_owned(),
        driver: NIC.to_owned(),
        pool: "node-1".to_owned(),
        device: name.to_owned(),
        share: None,
    }
}

fn network_device(resource: &str, id: &str) -> NetworkDevice {
    NetworkDevice {
        resource: resource.to_owned(),
        id: id.to_owned(),
    }
}

fn slice(
    name: &str,
    generation: i64,
    devices: &[(&str, Option<NetworkDevice>)],
) -> Arc<ResourceSlice> {
    let devices = devices.iter().cloned();
    Arc::new(ResourceSlice {
        name: name.to_owned(),
        driver: NIC.to_owned(),
        pool: "node-1".to_owned(),
        generation,
        devices: devices
            .map(|(name, device)| (name.to_owned(), device))
            .collect(),
    })
}

fn extended(resource: &str, name: &str) -> ExtendedDevice {
    ExtendedDevice {
        resource: resource.to_owned(),
        device: device("extended", name),
    }
}

/// Resolves devices without extended resources.
fn resolve_devices(devices: &[ClaimDevice], slices: &[Arc<ResourceSlice>]) -> Resolved {
    let devices = devices.iter().cloned().collect();
    resolve(&devices, &BTreeSet::new(), slices)
}

fn ids(resource: &str, ids: &[&str]) -> BTreeMap<String, BTreeSet<PodDevice>> {
    let ids = ids.iter().copied().map(PodDevice::whole).collect();
    BTreeMap::from([(resource.to_owned(), ids)])
}

#[test]
fn devices_are_found_by_driver_pool_and_name_and_gpus_are_skipped() {
    rows!("D-060", "D-061", "D-064");
    let (pool, driver) = ("node-2", "other.example.com");
    let mut other_pool = slice("s2", 9, &[("vf-0", Some(network_device("x/vf", "p")))]);
    Arc::get_mut(&mut other_pool).expect("not shared").pool = pool.to_owned();
    let mut other_driver = slice("s3", 9, &[("vf-0", Some(network_device("x/vf", "d")))]);
    Arc::get_mut(&mut other_driver).expect("not shared").driver = driver.to_owned();
    let slices = [
        slice(
            "s1",
            1,
            &[
                ("vf-0", Some(network_device("x/vf", "0000:18:02.1"))),
                ("vf-1", Some(network_device("x/vf", "0000:18:02.0"))),
                ("gpu-0", None),
            ],
        ),
        other_pool,
        other_driver,
    ];
    let devices = ["vf-0", "vf-1", "gpu-0"].map(|name| device("c", name));
    let resolved = resolve_devices(&devices, &slices);
    assert_eq!(
        resolved.devices,
        ids("x/vf", &["0000:18:02.0", "0000:18:02.1"])
    );
    assert_eq!(resolved.missing, None);
    assert!(resolved.unusable.is_empty());
    // Each of the three devices of the same name.
    let mut in_pool = device("c", "vf-0");
    in_pool.pool = pool.to_owned();
    let resolved = resolve_devices(&[in_pool], &slices);
    assert_eq!(resolved.devices, ids("x/vf", &["p"]));
    let mut of_driver = device("c", "vf-0");
    of_driver.driver = driver.to_owned();
    let resolved = resolve_devices(&[of_driver], &slices);
    assert_eq!(resolved.devices, ids("x/vf", &["d"]));
}

#[test]
fn a_device_that_several_claims_share_counts_once() {
    rows!("D-063");
    let slices = [slice(
        "s",
        1,
        &[("vf-0", Some(network_device("x/vf", "a")))],
    )];
    let devices = [device("one", "vf-0"), device("two", "vf-0")];
    let resolved = resolve_devices(&devices, &slices);
    assert_eq!(resolved.devices, ids("x/vf", &["a"]));
}

#[test]
fn each_share_of_a_device_counts_and_a_share_counts_once() {
    rows!("D-063");
    let slices = [slice(
        "s",
        1,
        &[("nic-0", Some(network_device("x/nic", "a")))],
    )];
    let share = |claim: &str, id: &str| ClaimDevice {
        share: Some(id.to_owned()),
        ..device(claim, "nic-0")
    };
    let devices = [share("c", "s1"), share("c", "s2"), share("other", "s2")];
    let resolved = resolve_devices(&devices, &slices);
    let shares = ["s1", "s2"].map(|id| PodDevice {
        id: "a".to_owned(),
        share: Some(id.to_owned()),
    });
    assert_eq!(resolved.devices["x/nic"], BTreeSet::from(shares));
}

#[test]
fn only_the_newest_generation_of_a_pool_counts() {
    rows!("D-065");
    let old = slice(
        "old",
        3,
        &[
            ("vf-0", Some(network_device("x/vf", "old-0"))),
            ("vf-1", Some(network_device("x/vf", "old-1"))),
        ],
    );
    let new = slice("new", 4, &[("vf-0", Some(network_device("x/vf", "new-0")))]);
    let more = slice(
        "more",
        4,
        &[("vf-2", Some(network_device("x/vf", "new-2")))],
    );
    for slices in [
        [old.clone(), new.clone(), more.clone()],
        [more, new.clone(), old],
    ] {
        let resolved = resolve_devices(&[device("c", "vf-0"), device("c", "vf-2")], &slices);
        assert_eq!(resolved.devices, ids("x/vf", &["new-0", "new-2"]));
        let gone = resolve_devices(&[device("c", "vf-1")], &slices);
        assert_eq!(gone.missing, Some(device("c", "vf-1")));
        assert!(gone.devices.is_empty());
    }
}

#[test]
fn a_device_in_no_slice_is_missing_and_the_others_are_found() {
    let slices = [slice(
        "s",
        1,
        &[("vf-0", Some(network_device("x/vf", "a")))],
    )];
    let resolved = resolve_devices(&[device("c", "vf-0"), device("c", "vf-9")], &slices);
    assert_eq!(resolved.devices, ids("x/vf", &["a"]));
    let missing = resolved.missing.expect("a missing device").to_string();
    assert_eq!(
        missing,
        "device nic.example.com/node-1/vf-9 of the claim ns/c"
    );
}

#[test]
fn a_device_of_an_extended_resource_must_have_the_name_of_the_resource() {
    rows!("D-066");
    let slices = [slice(
        "s",
        1,
        &[
            ("equal", Some(network_device("x/vf", "a"))),
            ("different", Some(network_device("x/other", "b"))),
            ("without", None),
        ],
    )];
    let resolve = |name: &str| {
        resolve(
            &BTreeSet::new(),
            &BTreeSet::from([extended("x/vf", name)]),
            &slices,
        )
    };
    assert_eq!(resolve("equal").devices, ids("x/vf", &["a"]));
    let different = resolve("different");
    assert!(different.devices.is_empty());
    let problem = &different.unusable["x/vf"];
    assert!(problem.contains("\"x/other\""), "{problem}");
    let problem = &resolve("without").unusable["x/vf"];
    assert!(problem.contains("lacks an attribute"), "{problem}");
    let absent = resolve("absent");
    assert_eq!(absent.missing, Some(device("extended", "absent")));
}

#[test]
fn a_resource_is_offered_if_a_device_has_its_name() {
    let slices = [slice(
        "s",
        1,
        &[("gpu-0", None), ("vf-0", Some(network_device("x/vf", "a")))],
    )];
    assert!(is_offered(&slices, "x/vf"));
    assert!(!is_offered(&slices, "bridge.network.kubevirt.io/br1"));
}
