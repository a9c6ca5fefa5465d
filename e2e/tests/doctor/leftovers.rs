//! Faults of records, interfaces and leases.

use std::fs::{self, File};
use std::process::Command;
use std::time::{Duration, SystemTime};

use plexus_e2e::{Node, Plexus, Script, attaches, node};
use serde_json::json;

use crate::{Diagnosis, installed, options};

/// The leases of the network name `lan`.
const LEASES: &str = "/var/lib/cni/networks/lan";

/// A lease of host-local.
fn lease(node: &Node, address: &str, container: &str) {
    node.run(|| fs::create_dir_all(LEASES))
        .expect("create the directory");
    node.write(
        format!("{LEASES}/{address}"),
        format!("{container}\r\neth0"),
    );
}

fn host_local(plexus: &Plexus<'_>) {
    for plugin in ["bridge", "host-local"] {
        plexus.node.plugin(plugin, &attaches());
    }
    let ipam = json!({"type": "host-local", "subnet": "10.9.0.0/28"});
    let config = json!({"cniVersion": "1.0.0", "type": "bridge", "ipam": ipam});
    plexus.manifests.definition("lan", &config);
}

#[test]
fn a_network_without_addresses_is_named() {
    let node = node!();
    let plexus = installed(&node);
    host_local(&plexus);
    let (_sandbox, target) = plexus.attached("web", "lan");
    for last in 2..14 {
        lease(&node, &format!("10.9.0.{last}"), &target.container);
    }
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_first("warning", "addresses", &["\\\"lan\\\"", "12 of 13"]);
    lease(&node, "10.9.0.14", &target.container);
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_failed(
        "addresses",
        &["13 of 13 addresses are in use", "networks/lan"],
    );
}

#[test]
fn a_lease_of_no_container_is_named() {
    let node = node!();
    let plexus = installed(&node);
    host_local(&plexus);
    let (_sandbox, target) = plexus.attached("web", "lan");
    lease(&node, "10.9.0.2", &target.container);
    Diagnosis::of(&node, "").expect_nothing();
    lease(&node, "10.9.0.3", "0123456789abcdef");
    let diagnosis = Diagnosis::of(&node, "");
    assert_eq!(diagnosis.exit_code, Some(1), "{:#}", diagnosis.json);
    diagnosis.expect_first(
        "warning",
        "leases",
        &["10.9.0.3 (0123456789abc)", "networks/lan"],
    );
}

#[test]
fn a_failing_del_is_named_and_fix_retries_it() {
    let node = node!();
    let plexus = installed(&node);
    plexus.network("lan", &attaches().fails("DEL", 11, "the switch is down"));
    let (_sandbox, target) = plexus.attached("web", "lan");
    plexus.runtime.del(&target).expect_code(11);
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_failed("records", &["default/web", "the switch is down", "--fix"]);
    let failed = Diagnosis::of(&node, "--fix");
    failed.expect_failed("records", &["not fixed: ", "the switch is down"]);
    node.plugin("lan", &attaches());
    let fixed = Diagnosis::of(&node, "--fix");
    assert_eq!(fixed.exit_code, Some(0), "{:#}", fixed.json);
    assert_eq!(fixed.findings()[0]["fix"], "fixed");
    assert_eq!(plexus.records(), [""; 0]);
    Diagnosis::of(&node, "").expect_nothing();
}

#[test]
fn a_record_of_a_sandbox_that_is_gone_is_a_warning() {
    let node = node!();
    let plexus = installed(&node);
    let (sandbox, _) = plexus.attached("web", "");
    sandbox.remove();
    let diagnosis = Diagnosis::of(&node, "");
    assert_eq!(diagnosis.exit_code, Some(1), "{:#}", diagnosis.json);
    diagnosis.expect_first("warning", "records", &["default/web", "sandbox is gone"]);
}

#[test]
fn many_sandboxes_that_are_gone_at_once_are_one_finding() {
    let node = node!();
    let plexus = installed(&node);
    for number in 0..6 {
        let (sandbox, _) = plexus.attached(&format!("web{number}"), "");
        sandbox.remove();
    }
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_failed("records", &["6 of 6", "PID namespace"]);
    assert_eq!(diagnosis.findings().len(), 1, "{:#}", diagnosis.json);
}

#[test]
fn a_damaged_record_is_named() {
    let node = node!();
    let plexus = installed(&node);
    plexus.attached("web", "");
    plexus.write_record("garbage\n");
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_failed("records", &["quarantine"]);
}

#[test]
fn an_interface_that_is_gone_from_its_sandbox_is_named() {
    let node = node!();
    let plexus = installed(&node);
    plexus.networks(&["lan"]);
    let (sandbox, _) = plexus.attached("web", "lan");
    let (other, _) = plexus.attached("other", "lan");
    Diagnosis::of(&node, "").expect_nothing();
    sandbox.ip("link delete net1");
    // The kernel finds the link by its old name as well.
    other.ip("link property add dev net1 altname old1");
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_failed(
        "interfaces",
        &["default/web", "net1", "default/lan", "delete the pod"],
    );
    assert_eq!(diagnosis.findings().len(), 1, "{:#}", diagnosis.json);
}

#[test]
fn a_network_namespace_that_was_unmounted_while_it_is_in_use_is_named() {
    let node = node!();
    let plexus = installed(&node);
    let (sandbox, _) = plexus.attached("web", "");
    let mut sleep = Command::new("sleep");
    let mut process = sandbox
        .run(|| sleep.arg("1000").spawn())
        .expect("start a process");
    sandbox.remove();
    let diagnosis = Diagnosis::of(&node, "");
    process.kill().expect("kill the process");
    process.wait().expect("wait for the process");
    diagnosis.expect_failed("interfaces", &["default/web", "exists, but", "netns"]);
    assert_eq!(diagnosis.findings().len(), 1, "{:#}", diagnosis.json);
}

#[test]
fn a_lease_in_a_network_whose_definition_was_deleted_is_named() {
    let node = node!();
    let plexus = installed(&node);
    host_local(&plexus);
    let (_sandbox, target) = plexus.attached("web", "lan");
    lease(&node, "10.9.0.2", &target.container);
    lease(&node, "10.9.0.3", "0123456789abcdef");
    plexus.manifests.remove_definition("lan");
    let diagnosis = Diagnosis::of(&node, "");
    let texts = ["10.9.0.3 (0123456789abc)", "networks/lan"];
    diagnosis.expect_finding("leases", &texts);
}

#[test]
fn fix_removes_the_lease_of_a_retired_record_and_no_other() {
    let node = node!();
    let keys = json!({"retireAfter": "50ms", "orphanAfter": "1h", "recoveryInterval": "20ms", "goneGap": "40ms"});
    let mut plexus = Plexus::on(&node).installed().config(keys).build();
    plexus.daemon.restart();
    host_local(&plexus);
    let refuses = Script::new()
        .fails("ADD", 999, "a typo")
        .fails("DEL", 999, "a typo");
    node.plugin("bridge", &refuses);
    let (sandbox, target) = plexus.sandbox("web", "lan");
    plexus.runtime.add(&target).expect_code(999);
    plexus.runtime.del(&target).expect_code(999);
    sandbox.remove();
    plexus.wait_records(&[]);
    let foreign = format!("{LEASES}/10.9.0.3");
    lease(&node, "10.9.0.3", "0123456789abcdef");
    let own = [2, 4, 5, 6].map(|last| format!("{LEASES}/10.9.0.{last}"));
    for file in &own {
        node.write(file, format!("{}\r\nnet1", target.container));
    }
    let diagnosis = Diagnosis::of(&node, "");
    let texts = [
        "leases remain (4)",
        "(lan)",
        "default/web",
        "is retired",
        "--fix",
    ];
    diagnosis.expect_finding("leases", &texts);
    let is_of_leases = |finding: &&serde_json::Value| finding["check"] == "leases";
    let of_leases: Vec<_> = diagnosis.findings().iter().filter(is_of_leases).collect();
    assert_eq!(
        of_leases.len(),
        2,
        "one for the foreign lease: {of_leases:#?}"
    );
    assert!(own.iter().all(|file| node.exists(file)));
    // host-local assigns an address of the network.
    let lock = node.run(|| File::create(format!("{LEASES}/lock")));
    let lock = lock.expect("create the lock file");
    lock.lock().expect("lock");
    let texts = [
        "not fixed: 4 of 4 leases cannot be removed: ",
        "networks/lan/10.9.0.",
    ];
    Diagnosis::of(&node, "--fix").expect_finding("leases", &texts);
    drop(lock);
    Diagnosis::of(&node, "--fix").expect_finding("leases", &["leases remain (4)", "\"fixed\""]);
    assert!(!own.iter().any(|file| node.exists(file)) && node.exists(&foreign));
}

#[test]
fn a_record_that_is_cut_in_its_first_line_is_named_and_listed() {
    let node = node!();
    let mut plexus = installed(&node);
    let (_sandbox, target) = plexus.attached("web", "");
    plexus.daemon.kill();
    plexus.write_record("{\"planned\":{\"form");
    let file = &plexus.files("ledger")[0];
    let path = format!("/var/lib/plexus/ledger/{file}");
    let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
    let set_time = || {
        File::options()
            .write(true)
            .open(&path)?
            .set_modified(an_hour_ago)
    };
    node.run(set_time).expect("set the time of the file");
    let diagnosis = Diagnosis::of(&node, &options(&plexus));
    diagnosis.expect_finding("records", &[&target.container, "first line is incomplete"]);
    let list = plexus.daemon.ledger(&["list"]).expect("a list");
    for text in ["unreadable", &target.container, "first line is incomplete"] {
        assert!(list.contains(text), "{text}: {list}");
    }
}
