//! The ledger itself: failing DELs, damaged records, a full disk, two daemons.

use std::fs;

use plexus_api::rows;
use plexus_e2e::plexus::{MAIN, attaches, runtime, with_keys};
use plexus_e2e::{Daemon, Script, node};
use serde_json::json;

use crate::stage::{Stage, record_path};

#[test]
fn an_orphan_is_tried_until_its_del_succeeds() {
    rows!("R-090");
    let node = node!();
    let stage = Stage::configured(&node, json!({"orphanAfter": "0"}));
    let (sandbox, target) = stage.attached("pod");
    node.plugin(
        MAIN,
        &attaches().fails("DEL", 120, "the switch does not answer"),
    );
    // given a runtime that has been told often enough
    let tries = (0..4)
        .find(|_| stage.runtime.del(&target).ok())
        .expect("at some time it is let go");
    assert!(tries <= 2, "recovery tries too");
    sandbox.remove();
    let list = stage.daemon.ledger(&["list"]).expect("it can be listed");
    assert!(
        list.contains("orphaned") && list.contains("the switch does not answer"),
        "{list}"
    );
    assert!(list.contains("net1=default/second (deleted)"), "{list}");
    // when the cause is gone, then so is the record
    node.plugin(MAIN, &attaches());
    stage.wait_records(&[]);
}

#[test]
fn dels_that_fail_alike_are_told_of_in_one_line_and_not_again_at_each_look() {
    let node = node!();
    let stage = Stage::start(&node);
    let pods = ["a", "b", "c"].map(|name| stage.attached(name));
    node.plugin(
        MAIN,
        &attaches().fails("DEL", 120, "the switch does not answer"),
    );
    for ((_sandbox, target), failing) in pods.iter().zip(1..) {
        stage.runtime.del(target).expect_code(120);
        stage.daemon.wait_log(&format!(
            "the switch does not answer (code 120); `plexusd ledger list` shows the records records={failing}"
        ));
    }
    node.plugin(MAIN, &attaches());
    stage.wait_records(&[]);
    let log = stage.daemon.log();
    let told = log
        .lines()
        .filter_map(|line| line.split_once(" WARN recovery: ").map(|(_, text)| text));
    let told: Vec<_> = told.collect();
    assert!(
        told.len() >= 3 && told.windows(2).all(|two| two[0] != two[1]),
        "{told:#?}"
    );
}

#[test]
fn a_damaged_record_goes_to_the_quarantine() {
    rows!("P-090");
    let node = node!();
    let mut stage = Stage::start(&node);
    let (_sandbox, target) = stage.attached("pod");
    let (_living, living_target) = stage.attached("living");
    stage.daemon.kill9();
    for damage in ["{\"planned\": 7}\n", "garbage\n"] {
        node.run(|| fs::write(record_path(&target), damage).expect("it can be written"));
        stage.daemon.launch();
        stage.wait_records(&[&living_target]);
        stage.daemon.wait_ready();
        stage.runtime.del(&target).expect_silence();
        stage.daemon.kill9();
    }
    let quarantine = stage.files("quarantine");
    assert!(
        quarantine.len() == 2 && quarantine[0].starts_with(&target.container),
        "{quarantine:?}"
    );
    stage.daemon.restart();
    stage.runtime.check(&living_target).expect_silence();
}

#[test]
fn a_full_disk_refuses_add_before_any_plugin_and_del_goes_on() {
    rows!("R-085");
    let node = node!();
    let mut stage = Stage::start(&node);
    stage.daemon.stop();
    node.ip("link set lo up");
    node.run(|| {
        let flags = nix::mount::MsFlags::empty();
        nix::mount::mount(
            Some("tmpfs"),
            "/var/lib/plexus",
            Some("tmpfs"),
            flags,
            Some("size=128k"),
        )
        .expect("tmpfs");
    });
    stage.daemon.restart();
    let (sandbox, target) = stage.attached("pod");
    // given a disk without a free block, and a record that fills its own
    node.run(|| {
        let mut record = fs::read(record_path(&target)).expect("a record");
        record.pop();
        record.resize(record.len().next_multiple_of(4096) - 1, b' ');
        record.push(b'\n');
        fs::write(record_path(&target), record).expect("there is room yet");
        while fs::write("/var/lib/plexus/filler", vec![0; 128 << 10])
            .is_err_and(|error| error.raw_os_error() != Some(28))
        {}
    });
    let (other, other_target) = stage.sandbox("other");
    let answer = stage.runtime.add(&other_target);
    assert!(answer.code().is_some_and(|code| code >= 100), "{answer:?}");
    assert!(
        answer.msg().contains("No space left on device"),
        "{answer:?}"
    );
    assert_eq!(stage.calls(&other_target, 0), [] as [&str; 0]);
    assert_eq!(other.links().len(), 1);
    stage.runtime.del(&other_target).expect_silence();
    stage.runtime.del(&target).expect_silence();
    assert_eq!(
        stage.calls(&target, 2),
        ["DEL second net1", "DEL main eth0"]
    );
    assert!(sandbox.link("eth0").is_none());
    assert_eq!(stage.records(), [] as [&str; 0]);
    assert!(
        stage.daemon.log().contains("cannot be recorded"),
        "the case was reached"
    );
}

#[test]
fn a_second_daemon_waits_for_the_ledger_and_says_for_whom() {
    let node = node!();
    let mut stage = Stage::start(&node);
    let (_sandbox, target) = stage.attached("pod");
    let elsewhere = json!({"daemonSocketDir": "/run/other"});
    let config = with_keys(stage.config.clone(), elsewhere.clone());
    let mut second = Daemon::new(&node, &config, stage.manifests.dir());
    second.launch();
    second.wait_log(&format!(
        "in use by another plexusd (pid {})",
        stage.daemon.pid()
    ));
    stage.runtime.check(&target).expect_silence();
    stage.daemon.kill9();
    second.wait_ready();
    let runtime = runtime(&node, elsewhere);
    runtime.check(&target).expect_silence();
    runtime.del(&target).expect_silence();
}

#[test]
fn the_ledger_can_be_read_while_the_daemon_writes() {
    let node = node!();
    let mut stage = Stage::start(&node);
    let (_sandbox, target) = stage.attached("pod");
    let gate = node.gate("first");
    node.plugin(MAIN, &Script::new().on("ADD", [gate.step()]));
    let (_adding, adding_target) = stage.sandbox("adding");
    let running = stage.runtime.start("ADD", &adding_target);
    let held = gate.wait();
    let list = stage.daemon.ledger(&["list"]).expect("it can be listed");
    let lines: Vec<_> = list
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .collect();
    assert_eq!(
        lines[0],
        ["STATE", "AGE", "CONTAINER", "IFNAME", "POD", "NETWORKS"]
    );
    let networks = "eth0=pods,net1=default/second";
    let of = |line: &[&str]| [0, 2, 3, 4, 5].map(|column| line[column].to_owned());
    assert_eq!(
        of(&lines[1]),
        [
            "attached",
            &target.container,
            "eth0",
            "default/pod",
            networks
        ]
    );
    assert_eq!(
        of(&lines[2]),
        [
            "adding",
            &adding_target.container,
            "eth0",
            "default/adding",
            networks
        ]
    );
    assert!(list.lines().all(|line| {
        line.find("eth0")
            .is_none_or(|at| Some(at) == list.lines().nth(1).and_then(|line| line.find("eth0")))
    }));
    held.release();
    running.wait().result();
    stage.daemon.kill9();
    stage.runtime.del(&target).expect_code(11);
    let list = stage.daemon.ledger(&["list"]).expect("it needs no daemon");
    assert!(
        list.contains(&format!(
            "spooled DEL: /var/lib/plexus/spool/{}:eth0.json",
            target.container
        )),
        "{list}"
    );
}
