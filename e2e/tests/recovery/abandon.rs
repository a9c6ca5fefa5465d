//! An administrator abandons a record.

use plexus_api::rows;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::{Pod, attaches, node};
use serde_json::json;

use crate::{attached, start, start_with};

#[test]
fn abandon_removes_the_named_record_with_and_without_a_daemon() {
    rows!("R-090");
    for running in [true, false] {
        let node = node!();
        let mut plexus = start_with(&node, json!({"recoveryInterval": "1h"}));
        let (_living, living_target) = attached(&plexus, "living");
        let (_sandbox, target) = attached(&plexus, "pod");
        let fails = attaches().fails("DEL", 120, "the switch was scrapped");
        node.plugin(MAIN, &fails);
        plexus.runtime.del(&target).expect_code(120);
        if !running {
            plexus.daemon.stop();
        }
        let calls = node.calls().len();
        let container = target.container.as_str();
        for name in [&["abandon", "other"][..], &["abandon", container, "eth1"]] {
            let error = plexus.daemon.ledger(name).expect_err("no such record");
            assert!(error.contains("has no record"), "{error}");
        }
        // The output names what is left behind; no plugin is called.
        let output = plexus
            .daemon
            .ledger(&["abandon", container, "eth0"])
            .expect("abandon the record");
        assert!(
            output.contains(container)
                && output.contains("interface eth0 of network pods with 10.1.2.3/24"),
            "{output}"
        );
        assert!(!output.contains("net1"), "net1 was deleted: {output}");
        assert_eq!(plexus.records(), [living_target.container.as_str()]);
        assert_eq!(node.calls().len(), calls);
        if running {
            let log = plexus.daemon.log();
            assert!(
                log.contains("WARN")
                    && log.contains("abandoned")
                    && log.contains("interface eth0 of network pods"),
                "{log}"
            );
            plexus.runtime.del(&target).expect_success();
        }
    }
}

#[test]
fn abandon_without_an_interface_removes_all_records_of_a_container() {
    rows!("R-090");
    let node = node!();
    let plexus = start(&node);
    let (sandbox, target) = attached(&plexus, "pod");
    let pod = Pod::new("pod").annotated("only", "the default network");
    let second = sandbox.interface("eth1", &pod);
    plexus.runtime.add(&second).result();
    assert_eq!(plexus.files("ledger").len(), 2);
    let output = plexus
        .daemon
        .ledger(&["abandon", &target.container])
        .expect("abandon the records");
    assert_eq!(output.matches("abandoned").count(), 2, "{output}");
    assert_eq!(plexus.files("ledger"), [""; 0]);
}

#[test]
fn abandon_fails_if_another_daemon_holds_the_ledger() {
    let node = node!();
    let plexus = start(&node);
    let (_sandbox, target) = attached(&plexus, "pod");
    let arguments = [
        "abandon",
        &target.container,
        "--socket-dir",
        "/run/elsewhere",
    ];
    let error = plexus
        .daemon
        .ledger(&arguments)
        .expect_err("the ledger is locked");
    assert!(
        error.contains("/run/elsewhere") && error.contains(&format!("pid {}", plexus.daemon.pid())),
        "{error}"
    );
    assert_eq!(plexus.records(), [target.container]);
}
