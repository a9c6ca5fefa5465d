//! The operator gives up a record.

use plexus_api::rows;
use plexus_e2e::plexus::{MAIN, attaches};
use plexus_e2e::{Pod, Target, node};
use serde_json::json;

use crate::stage::Stage;

#[test]
fn a_record_is_given_up_by_name_with_and_without_a_daemon() {
    rows!("R-090");
    for running in [true, false] {
        let node = node!();
        let mut stage = Stage::configured(&node, json!({"recoveryInterval": "1h"}));
        let (_living, living_target) = stage.attached("living");
        let (_sandbox, target) = stage.attached("pod");
        // given a plugin that can never delete
        node.plugin(
            MAIN,
            &attaches().fails("DEL", 120, "the switch was scrapped"),
        );
        stage.runtime.del(&target).expect_code(120);
        if !running {
            stage.daemon.stop();
        }
        let calls = node.calls().len();
        let container = target.container.as_str();
        // when another name is given, then nothing happens
        for name in [&["abandon", "other"][..], &["abandon", container, "eth1"]] {
            let error = stage
                .daemon
                .ledger(name)
                .expect_err("there is none of that name");
            assert!(error.contains("has no record"), "{error}");
        }
        // when its name is given, then it is forgotten, without a call, and what is left is named
        let told = stage
            .daemon
            .ledger(&["abandon", container, "eth0"])
            .expect("it is given up");
        assert!(
            told.contains(container)
                && told.contains("interface eth0 of network pods with 10.1.2.3/24"),
            "{told}"
        );
        assert!(!told.contains("net1"), "that one was deleted: {told}");
        assert_eq!(stage.records(), [living_target.container.as_str()]);
        assert_eq!(node.calls().len(), calls);
        if running {
            let log = stage.daemon.log();
            assert!(
                log.contains("WARN")
                    && log.contains("abandoned")
                    && log.contains("interface eth0 of network pods"),
                "{log}"
            );
            // The runtime is not told otherwise.
            stage.runtime.del(&target).expect_silence();
        }
    }
}

#[test]
fn all_interfaces_of_a_container_are_given_up_without_an_interface() {
    rows!("R-090");
    let node = node!();
    let stage = Stage::start(&node);
    let (sandbox, target) = stage.attached("pod");
    let second = Target::new(
        &sandbox,
        "eth1",
        &Pod::new("pod").annotated("only", "the default network"),
    );
    stage.runtime.add(&second).result();
    assert_eq!(stage.files("ledger").len(), 2);
    let told = stage
        .daemon
        .ledger(&["abandon", &target.container])
        .expect("they are given up");
    assert_eq!(told.matches("abandoned").count(), 2, "{told}");
    assert_eq!(stage.files("ledger"), [] as [&str; 0]);
}

#[test]
fn nobody_writes_beside_a_daemon_that_does_not_answer_here() {
    let node = node!();
    let stage = Stage::start(&node);
    let (_sandbox, target) = stage.attached("pod");
    let arguments = [
        "abandon",
        &target.container,
        "--socket-dir",
        "/run/elsewhere",
    ];
    let error = stage
        .daemon
        .ledger(&arguments)
        .expect_err("another has the lock");
    assert!(
        error.contains("/run/elsewhere") && error.contains(&format!("pid {}", stage.daemon.pid())),
        "{error}"
    );
    assert_eq!(stage.records(), [target.container]);
}
