//! DELs that found no daemon.

use plexus_api::rows;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::{CniTarget, Node, Plexus, Sandbox, attaches, node};
use serde_json::{Value, json};

use crate::{attached, is_detached, start};

const DELS: [&str; 2] = ["DEL second net1", "DEL main eth0"];

/// Plexus with a killed daemon, and a sandbox whose DEL is in the spool.
fn spooled(node: &Node) -> (Plexus<'_>, Sandbox<'_>, CniTarget) {
    let mut plexus = start(node);
    let (sandbox, target) = attached(&plexus, "pod");
    plexus.daemon.kill();
    plexus.runtime.del(&target).expect_code(11);
    (plexus, sandbox, target)
}

#[test]
fn a_del_without_a_daemon_is_executed_when_the_daemon_starts() {
    rows!("P-094");
    for (when_down, code) in [("retry", Some(11)), ("spool", None)] {
        let node = node!();
        let mut plexus = start(&node);
        let (sandbox, target) = attached(&plexus, "pod");
        plexus.daemon.kill();
        let keys = json!({"daemonWaitDel": "20ms", "delWhenDown": when_down});
        let output = plexus.runtime_with(keys).del(&target);
        assert_eq!(
            (output.code(), output.ok()),
            (code, code.is_none()),
            "{output:?}"
        );
        assert_eq!(plexus.files("spool").len(), 1);
        plexus.daemon.launch();
        plexus.wait_spool(&[]);
        plexus.wait_records(&[]);
        assert_eq!(plexus.calls_for(&target)[2..], DELS);
        assert!(is_detached(&sandbox), "{:?}", sandbox.links());
    }
}

#[test]
fn a_spooled_del_that_fails_is_retried() {
    rows!("P-094", "R-090");
    let node = node!();
    let mut plexus = start(&node);
    let (_sandbox, target) = attached(&plexus, "pod");
    plexus.daemon.kill();
    let fails = attaches().fails("DEL", 120, "the switch does not answer");
    node.plugin(MAIN, &fails);
    plexus.runtime.del(&target).expect_code(11);
    plexus.daemon.launch();
    plexus.daemon.wait_log("the switch does not answer");
    assert_eq!(plexus.records(), [target.container.as_str()]);
    node.plugin(MAIN, &attaches());
    plexus.wait_spool(&[]);
    plexus.wait_records(&[]);
}

#[test]
fn a_spooled_del_does_not_affect_a_new_sandbox_at_the_same_path() {
    rows!("P-094");
    let node = node!();
    let (mut plexus, sandbox, target) = spooled(&node);
    sandbox.remove();
    let next = node.sandbox("pod");
    next.ip("link add eth0 type bridge");
    plexus.daemon.launch();
    plexus.wait_spool(&[]);
    plexus.wait_records(&[]);
    assert_eq!(plexus.calls_for(&target)[2], "DEL second net1");
    assert!(next.link("eth0").is_some(), "the link of the new sandbox");
}

#[test]
fn a_spooled_del_deletes_only_what_was_attached_before_the_del() {
    rows!("P-094");
    // The time of the DEL, and whether that is after the ADD.
    for (name, at, is_due) in [
        ("earlier", Some(json!({"boottimeNs": 1})), false),
        ("boot", Some(json!({"bootId": "another"})), false),
        ("later", Some(json!({"boottimeNs": u64::MAX})), true),
        ("nothing", None, true),
    ] {
        let node = node!();
        let (mut plexus, _sandbox, target) = spooled(&node);
        let path = format!("/var/lib/plexus/spool/{}:eth0.json", target.container);
        let mut request: Value = serde_json::from_str(&node.read(&path)).expect("JSON");
        match &at {
            Some(at) => {
                for (key, value) in at.as_object().expect("an object") {
                    assert!(!request["at"][key].is_null(), "{request}");
                    request["at"][key] = value.clone();
                }
            }
            None => drop(request.as_object_mut().expect("an object").remove("at")),
        }
        node.write(&path, request.to_string());
        plexus.daemon.launch();
        plexus.wait_spool(&[]);
        if is_due {
            plexus.wait_records(&[]);
            assert_eq!(plexus.calls_for(&target)[2..], DELS, "{name}");
        } else {
            assert_eq!(plexus.records(), [target.container.as_str()], "{name}");
            assert_eq!(plexus.calls_for(&target)[2..], [""; 0], "{name}");
            plexus.runtime.del(&target).expect_success();
        }
    }
}

#[test]
fn a_temporary_file_of_a_killed_shim_is_removed() {
    let node = node!();
    let (mut plexus, ..) = spooled(&node);
    node.write("/var/lib/plexus/spool/.c:eth0.4294967295", "{\"env");
    plexus.daemon.launch();
    plexus.wait_spool(&[]);
    plexus.wait_records(&[]);
    assert_eq!(plexus.files("spool"), [""; 0]);
}

#[test]
fn a_file_in_the_spool_that_is_not_a_request_is_moved_to_quarantine() {
    let node = node!();
    let (mut plexus, ..) = spooled(&node);
    node.write("/var/lib/plexus/spool/c:eth0.json", "{\"env");
    plexus.daemon.launch();
    plexus.wait_spool(&[]);
    let quarantine = plexus.files("quarantine");
    assert!(
        quarantine.len() == 1 && quarantine[0].starts_with("c:eth0.json"),
        "{quarantine:?}"
    );
}
