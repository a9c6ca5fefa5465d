use std::sync::Arc;
use std::time::Duration;

use plexus_api::cni::{Defaults, NetworkConfig, Version};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ledger::test_helpers::{BOOT, no_limits, open, planned, raw};

#[tokio::test]
async fn an_error_does_not_hide_the_records_that_were_abandoned_before_it() {
    let (_dir, ledger) = open();
    for container in ["c1", "c2", "c3"] {
        let lock = ledger.wait_for_container(container).await;
        let record = lock.plan(planned(container, "eth0", 1)).await;
        let mut record = record.expect("a new record");
        let failed = Line::DelFailed {
            unix_ms: 1,
            error: "no answer".to_owned(),
            total: None,
        };
        for line in [Line::Started { index: 0 }, failed] {
            lock.append(&mut record, line).expect("append");
        }
    }
    let request = AbandonRequest {
        selection: AbandonSelection::Pod("ns/pod".to_owned()),
        dry_run: false,
    };
    // A lock that is free is acquired nevertheless.
    let limits = CallLimits::new(
        "abandon",
        Instant::now(),
        Duration::ZERO,
        CancellationToken::new(),
    );
    let held = ledger.wait_for_container("c2").await;
    let outcome = ledger.abandon(&request, BOOT, &limits).await;
    let outcome = outcome.expect("one record is abandoned");
    let containers: Vec<_> = outcome
        .abandoned
        .iter()
        .map(|record| record.container_id.as_str())
        .collect();
    assert_eq!(containers, ["c1"]);
    let error = outcome.error.expect("the lock of c2 is held");
    assert!(error.contains("the lock of container c2"), "{error}");
    let mut left = ledger.keys().expect("a list");
    left.sort();
    assert_eq!(left, ["c2", "c3"].map(|id| RecordKey::new(id, "eth0")));

    let nothing = ledger.abandon(&request, BOOT, &limits).await;
    assert!(matches!(nothing, Err(LedgerError::Wait(_))), "{nothing:?}");
    drop(held);
    let outcome = ledger.abandon(&request, BOOT, &limits).await;
    let outcome = outcome.expect("the others are abandoned");
    assert_eq!((outcome.abandoned.len(), outcome.error), (2, None));
}

#[tokio::test]
async fn abandoning_a_network_after_a_reboot_keeps_the_other_networks_of_the_record() {
    let (_dir, ledger) = open();
    let lock = ledger.wait_for_container("c1").await;
    let record = lock.plan(planned("c1", "eth0", 2)).await;
    let mut record = record.expect("a new record");
    let failed = record.failed_del(1, "no answer".to_owned());
    // A power loss may have removed the line of the other attachment.
    for line in [Line::Started { index: 1 }, failed] {
        lock.append(&mut record, line).expect("append");
    }
    drop(lock);
    let request = AbandonRequest {
        selection: AbandonSelection::Network("ns/net1".to_owned()),
        dry_run: false,
    };
    let outcome = ledger.abandon(&request, "another boot", &no_limits()).await;
    assert_eq!(outcome.expect("abandoned").abandoned.len(), 1);
    let record = ledger.read(&RecordKey::new("c1", "eth0"));
    let record = record.expect("readable").expect("still there");
    assert_eq!(record.to_undo("another boot"), [0]);
}

#[test]
fn the_leftovers_of_an_attachment_without_a_result_include_what_its_ipam_plugin_has_assigned() {
    let mut planned = planned("c1", "eth0", 1);
    let config =
        r#"{"cniVersion":"1.0.0","name":"lan","type":"macvlan","ipam":{"type":"host-local"}}"#;
    let defaults = Defaults {
        name: None,
        version: Version::V1_0_0,
    };
    let config = NetworkConfig::parse(config, defaults).expect("a configuration");
    planned.attachments[0].config = Arc::new(config);
    let mut record = Record::new(planned);
    assert_eq!(
        record.leftovers("another boot"),
        [
            "interface net0 of network ns/net0 with the addresses that host-local has assigned to it under the network \
             name \"lan\"",
        ]
    );
    let result = raw(r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.5/24"}]}"#);
    record.attachments[0].added = Some(result);
    let left = record.leftovers("another boot");
    assert_eq!(left, ["interface net0 of network ns/net0 with 10.0.0.5/24"]);
}

#[test]
fn the_leftovers_of_an_attachment_include_its_device() {
    let mut planned = planned("c1", "eth0", 2);
    planned.attachments[1].device_id = Some("0000:03:02.0".to_owned());
    let record = Record::new(planned);
    let left = [0, 1].map(|index| leftover(&record, index));
    assert_eq!(
        left,
        [
            "interface net0 of network ns/net0",
            "interface net1 of network ns/net1 on the device 0000:03:02.0",
        ]
    );
}
