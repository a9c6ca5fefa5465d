//! An administrator abandons a record.

use plexus_api::rows;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::{Pod, attaches, node};
use serde_json::json;

use crate::{SECOND, attached, start, start_with};

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

#[test]
fn abandon_selects_orphaned_records_a_pod_or_a_network_and_changes_nothing_without_yes() {
    rows!("R-090");
    for running in [true, false] {
        let node = node!();
        let keys = json!({"recoveryInterval": "1h", "orphanAfter": "0"});
        let mut plexus = start_with(&node, keys);
        plexus.network("third", &attaches());
        let pods = ["living", "orphaned", "failed", "two"].map(|name| {
            let (sandbox, target) = plexus.attached(name, "second,third");
            (sandbox, target)
        });
        let [living, orphaned, failed, two] = pods.each_ref().map(|(_, target)| target);
        node.plugin(SECOND, &attaches().fails("DEL", 120, "no answer"));
        for _ in 0..2 {
            plexus.runtime.del(orphaned).expect_code(120);
        }
        plexus.runtime.del(orphaned).expect_success();
        plexus.runtime.del(failed).expect_code(120);
        node.plugin("third", &attaches().fails("DEL", 120, "nor here"));
        plexus.runtime.del(two).expect_code(120);
        if !running {
            plexus.daemon.stop();
        }
        let calls = node.calls().len();
        let abandon = |arguments: &[&str]| {
            let preview = plexus.daemon.ledger(&[&["abandon"], arguments].concat());
            let records = plexus.records();
            let done = plexus
                .daemon
                .ledger(&[&["abandon"], arguments, &["--yes"]].concat())
                .expect("abandon the records");
            let (preview, done) = (preview.expect("a list of the records"), done);
            assert_eq!(
                preview.matches("would abandon").count(),
                done.matches("abandoned").count(),
                "{preview}{done}"
            );
            (records, preview, done)
        };
        let all = [living, orphaned, failed, two].map(|target| target.container.clone());
        let left = |indexes: &[usize]| {
            let mut left: Vec<_> = indexes.iter().map(|&index| all[index].clone()).collect();
            left.sort();
            left
        };

        let (records, preview, done) = abandon(&["--orphaned"]);
        assert_eq!(records, left(&[0, 1, 2, 3]));
        assert!(
            preview.contains("repeat the command with --yes"),
            "{preview}"
        );
        assert!(
            done.contains("interface net1 of network default/second"),
            "{done}"
        );
        assert_eq!(plexus.records(), left(&[0, 2, 3]));

        // Only the attachments to the network are abandoned.
        let (_, _, done) = abandon(&["--network", "default/second"]);
        assert!(
            !done.contains("third") && !done.contains("living"),
            "{done}"
        );
        assert_eq!(plexus.records(), left(&[0, 3]));

        let (_, _, done) = abandon(&["--pod", "default/two"]);
        assert!(done.contains("third") && !done.contains("second"), "{done}");
        assert_eq!(plexus.records(), left(&[0]));
        for arguments in [
            &["--pod", "default/living"],
            &["--network", "default/second"],
        ] {
            let (_, preview, _) = abandon(arguments);
            assert_eq!(preview, "no record is selected\n");
        }
        assert_eq!((plexus.records(), node.calls().len()), (left(&[0]), calls));
        for arguments in [&["abandon"][..], &["abandon", "c", "--orphaned"]] {
            assert!(plexus.daemon.ledger(arguments).is_err(), "{arguments:?}");
        }
    }
}
