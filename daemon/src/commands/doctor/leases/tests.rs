use plexus_api::cni::{Defaults, NetworkConfig, Version};

use super::pools::DATA_DIR;
use super::*;
use crate::commands::lint::host_local_sets;

/// A network with the addresses .1 to .15 of a subnet, and .16 to .31 in another set.
fn pool(leases: &[&str]) -> Pool {
    let text = r#"{"type":"bridge","ipam":{"type":"host-local","ranges":[[{"subnet":"10.0.0.0/28"}],[{"subnet":"10.0.1.0/24"}]]}}"#;
    let defaults = Defaults {
        name: Some("lan"),
        version: Version::V1_0_0,
    };
    let config = NetworkConfig::parse(text, defaults).expect("a configuration");
    let (_, sets) = host_local_sets(&config).remove(0);
    let lease = |address: &&str| Lease {
        address: address.parse().expect("an address"),
        container: "abcdef".to_owned(),
        ifname: "net1".to_owned(),
    };
    Pool {
        is_needed: true,
        unwritable: None,
        name: "lan".to_owned(),
        dir: Path::new(DATA_DIR).join("lan"),
        sets,
        leases: leases.iter().map(lease).collect(),
    }
}

#[test]
fn the_set_with_the_fewest_free_addresses_counts() {
    let addresses: Vec<_> = (2..15).map(|last| format!("10.0.0.{last}")).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let level = |count: usize| {
        let finding = judge(&pool(&addresses[..count]));
        finding.map(|finding| finding.level)
    };
    assert_eq!(level(0), None);
    assert_eq!(level(11), None);
    assert_eq!(level(12), Some(Level::Warning));
    assert_eq!(level(13), Some(Level::Failed));
    let other_set: Vec<_> = (2..20).map(|last| format!("10.0.1.{last}")).collect();
    let other_set: Vec<_> = other_set.iter().map(String::as_str).collect();
    assert!(judge(&pool(&other_set)).is_none());
}

#[test]
fn a_lease_is_named_with_its_container() {
    let pool = pool(&["10.0.0.5"]);
    let leases: Vec<_> = pool.leases.iter().collect();
    let finding = leaked(&pool, &leases).expect("a finding");
    assert!(finding.cause.contains("10.0.0.5 (abcdef)"), "{finding:?}");
    assert!(leaked(&pool, &[]).is_none());
}

#[test]
fn only_the_expected_lease_is_removed() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("10.0.0.5");
    fs::write(&file, "abcdef\r\nnet1").expect("write a lease");
    let expected = lease(&file).expect("a lease");
    assert_eq!(
        (&*expected.container, &*expected.ifname),
        ("abcdef", "net1")
    );
    fs::write(&file, "another\r\nnet1").expect("write a lease");
    remove(&file, &expected).expect("the lease of another container");
    assert!(file.exists());
    fs::write(&file, "abcdef\r\nnet1").expect("write a lease");
    let lock = File::open(dir.path().join(LOCK)).expect("a lock file");
    lock.lock().expect("lock the leases as host-local");
    remove(&file, &expected).expect_err("host-local runs");
    assert!(file.exists());
    drop(lock);
    remove(&file, &expected).expect("an expected lease");
    assert!(!file.exists());
}
