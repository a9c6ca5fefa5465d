//! The ledger: DELs that fail, damaged records, a full disk, two daemons.

use std::fs;

use nix::mount::{MsFlags, mount};
use plexus_api::rows;
use plexus_e2e::json::with_keys;
use plexus_e2e::leftovers::record_path;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::{Node, Script, attaches, node};
use serde_json::json;

use crate::{SECOND, attached, start, start_with};

/// A plugin whose DEL fails.
fn fails() -> Script {
    attaches().fails("DEL", 120, "the switch does not answer")
}

#[test]
fn del_of_an_orphaned_record_is_retried_until_it_succeeds() {
    rows!("R-090");
    let node = node!();
    let plexus = start_with(&node, json!({"orphanAfter": "0"}));
    let (sandbox, target) = attached(&plexus, "pod");
    node.plugin(MAIN, &fails());
    let failures = (0..4)
        .find(|_| plexus.runtime.del(&target).ok())
        .expect("a DEL succeeds");
    // Retries of recovery count as well.
    assert!(failures <= 2, "{failures}");
    sandbox.remove();
    let list = plexus.daemon.ledger(&["list"]).expect("list the ledger");
    assert!(
        list.contains("orphaned") && list.contains("the switch does not answer"),
        "{list}"
    );
    assert!(list.contains("net1=default/second(deleted)"), "{list}");
    node.plugin(MAIN, &attaches());
    plexus.wait_records(&[]);
}

#[test]
fn dels_that_fail_alike_are_logged_in_one_line_and_only_when_the_count_changes() {
    let node = node!();
    let plexus = start(&node);
    let pods = ["a", "b", "c"].map(|name| attached(&plexus, name));
    node.plugin(MAIN, &fails());
    for ((_sandbox, target), failing) in pods.iter().zip(1..) {
        plexus.runtime.del(target).expect_code(120);
        plexus.daemon.wait_log(&format!(
            "the switch does not answer (code 120); `plexusd ledger list` shows the records records={failing}"
        ));
    }
    node.plugin(MAIN, &attaches());
    plexus.wait_records(&[]);
    let log = plexus.daemon.log();
    let warnings: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(" WARN recovery: ").map(|(_, text)| text))
        .collect();
    assert!(
        warnings.len() >= 3 && warnings.windows(2).all(|pair| pair[0] != pair[1]),
        "{warnings:#?}"
    );
}

#[test]
fn a_damaged_record_is_moved_to_quarantine() {
    rows!("P-090");
    let node = node!();
    let mut plexus = start(&node);
    let (_sandbox, target) = attached(&plexus, "pod");
    let (_living, living_target) = attached(&plexus, "living");
    plexus.daemon.kill();
    for damage in ["{\"planned\": 7}\n", "garbage\n"] {
        node.write(record_path(&target), damage);
        plexus.daemon.launch();
        plexus.wait_records(&[&living_target]);
        plexus.daemon.wait_ready();
        plexus.runtime.del(&target).expect_success();
        plexus.daemon.kill();
    }
    let quarantine = plexus.files("quarantine");
    assert!(
        quarantine.len() == 2 && quarantine[0].starts_with(&target.container),
        "{quarantine:?}"
    );
    plexus.daemon.restart();
    plexus.runtime.check(&living_target).expect_success();
}

#[test]
fn on_a_full_disk_add_fails_before_any_plugin_runs_and_del_succeeds() {
    rows!("R-085");
    let node = node!();
    let mut plexus = start(&node);
    plexus.daemon.stop();
    node.run(|| {
        let (kind, flags) = (Some("tmpfs"), MsFlags::empty());
        mount(kind, "/var/lib/plexus", kind, flags, Some("size=128k"))
    })
    .expect("mount a tmpfs");
    plexus.daemon.restart();
    let (sandbox, target) = attached(&plexus, "pod");
    fill_disk(&node, &record_path(&target));
    let (other, other_target) = plexus.sandbox("other", SECOND);
    let output = plexus.runtime.add(&other_target);
    assert!(output.code().is_some_and(|code| code >= 100), "{output:?}");
    assert!(
        output.msg().contains("No space left on device"),
        "{output:?}"
    );
    assert_eq!(plexus.calls_for(&other_target), [""; 0]);
    assert_eq!(other.links().len(), 1);
    plexus.runtime.del(&other_target).expect_success();
    plexus.runtime.del(&target).expect_success();
    assert_eq!(
        plexus.calls_for(&target)[2..],
        ["DEL second net1", "DEL main eth0"]
    );
    assert!(sandbox.link("eth0").is_none());
    assert_eq!(plexus.records(), [""; 0]);
    let log = plexus.daemon.log();
    assert!(
        log.contains("the ledger cannot record a step of DEL"),
        "{log}"
    );
}

/// Fills the last block of the record, and then the disk.
fn fill_disk(node: &Node, record: &str) {
    node.run(|| {
        let mut content = fs::read(record).expect("read the record");
        content.pop();
        content.resize(content.len().next_multiple_of(4096) - 1, b' ');
        content.push(b'\n');
        fs::write(record, content).expect("write the record");
        while fs::write("/var/lib/plexus/filler", vec![0; 128 << 10])
            .is_err_and(|error| error.raw_os_error() != Some(28))
        {}
    });
}

#[test]
fn a_second_daemon_waits_for_the_ledger_and_logs_the_process_that_holds_it() {
    let node = node!();
    let mut plexus = start(&node);
    let (_sandbox, target) = attached(&plexus, "pod");
    let elsewhere = json!({"daemonSocketDir": "/run/other"});
    plexus.config = with_keys(plexus.config, elsewhere.clone());
    let mut second = plexus.new_daemon();
    second.launch();
    second.wait_log(&format!(
        "in use by another plexusd (pid {})",
        plexus.daemon.pid()
    ));
    plexus.runtime.check(&target).expect_success();
    plexus.daemon.kill();
    second.wait_ready();
    let runtime = plexus.runtime_with(elsewhere);
    runtime.check(&target).expect_success();
    runtime.del(&target).expect_success();
}

#[test]
fn the_ledger_can_be_listed_while_the_daemon_writes() {
    let node = node!();
    let mut plexus = start(&node);
    let (_sandbox, target) = attached(&plexus, "pod");
    let gate = node.gate("first");
    node.plugin(MAIN, &Script::new().on("ADD", [gate.step()]));
    let (_adding, adding_target) = plexus.sandbox("adding", SECOND);
    let running = plexus.runtime.start("ADD", &adding_target);
    let held = gate.wait();
    let list = plexus.daemon.ledger(&["list"]).expect("list the ledger");
    let lines: Vec<Vec<_>> = list
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0].join(" "),
        "STATE AGE CONTAINER IFNAME POD NETWORKS FAILURES LAST-FAILURE ERROR"
    );
    let networks = "eth0=pods,net1=default/second";
    for (line, expected) in [
        (
            &lines[1],
            [
                "attached",
                &target.container,
                "eth0",
                "default/pod",
                networks,
            ],
        ),
        (
            &lines[2],
            [
                "adding",
                &adding_target.container,
                "eth0",
                "default/adding",
                networks,
            ],
        ),
    ] {
        // Without the age.
        assert_eq!([0, 2, 3, 4, 5].map(|column| line[column]), expected);
    }
    let columns: Vec<_> = list.lines().filter_map(|line| line.find("eth0")).collect();
    assert!(columns.windows(2).all(|pair| pair[0] == pair[1]), "{list}");
    held.release();
    running.wait().result();
    plexus.daemon.kill();
    plexus.runtime.del(&target).expect_code(11);
    let list = plexus.daemon.ledger(&["list"]).expect("list the ledger");
    let spooled = list.lines().last().unwrap_or_default().split_whitespace();
    let spooled: Vec<_> = spooled.take(4).collect();
    assert_eq!(
        spooled,
        ["spooled", "-", &target.container, "eth0"],
        "{list}"
    );
}
