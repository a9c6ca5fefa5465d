//! DELs that found no daemon.

use plexus_api::rows;
use plexus_e2e::plexus::{MAIN, attaches, runtime};
use plexus_e2e::{Node, Sandbox, Target, node};
use serde_json::{Value, json};

use crate::stage::Stage;

/// A stage whose daemon is gone, and a sandbox there whose DEL waits in the spool.
fn spooled(node: &Node) -> (Stage<'_>, Sandbox<'_>, Target) {
    let mut stage = Stage::start(node);
    let (sandbox, target) = stage.attached("pod");
    stage.daemon.kill9();
    stage.runtime.del(&target).expect_code(11);
    (stage, sandbox, target)
}

#[test]
fn a_del_without_a_daemon_is_done_when_it_is_back() {
    rows!("P-094");
    for (when_down, code) in [("retry", Some(11)), ("spool", None)] {
        let node = node!();
        let mut stage = Stage::start(&node);
        let (sandbox, target) = stage.attached("pod");
        stage.daemon.kill9();
        let runtime = runtime(
            &node,
            json!({"daemonWaitDel": "20ms", "delWhenDown": when_down}),
        );
        let answer = runtime.del(&target);
        assert_eq!(
            (answer.code(), answer.ok()),
            (code, code.is_none()),
            "{answer:?}"
        );
        assert_eq!(stage.files("spool").len(), 1);
        stage.daemon.launch();
        stage.wait_spool(&[]);
        stage.wait_records(&[]);
        assert_eq!(
            stage.calls(&target, 2),
            ["DEL second net1", "DEL main eth0"]
        );
        assert!(
            sandbox.link("eth0").is_none() && sandbox.link("net1").is_none(),
            "{:?}",
            sandbox.links()
        );
    }
}

#[test]
fn a_spooled_del_that_cannot_succeed_yet_is_tried_again() {
    rows!("P-094", "R-090");
    let node = node!();
    let mut stage = Stage::start(&node);
    let (_sandbox, target) = stage.attached("pod");
    stage.daemon.kill9();
    node.plugin(
        MAIN,
        &attaches().fails("DEL", 120, "the switch does not answer"),
    );
    stage.runtime.del(&target).expect_code(11);
    stage.daemon.launch();
    stage.daemon.wait_log("the switch does not answer");
    assert_eq!(stage.records(), [target.container.as_str()]);
    node.plugin(MAIN, &attaches());
    stage.wait_spool(&[]);
    stage.wait_records(&[]);
}

#[test]
fn a_spooled_del_does_not_reach_another_sandbox_under_its_path() {
    rows!("P-094");
    let node = node!();
    let (mut stage, sandbox, target) = spooled(&node);
    // given a path that is used again by the time the daemon is back
    sandbox.remove();
    let next = node.sandbox("pod");
    next.ip("link add eth0 type bridge");
    stage.daemon.launch();
    stage.wait_spool(&[]);
    stage.wait_records(&[]);
    assert_eq!(stage.calls(&target, 2)[0], "DEL second net1");
    assert!(next.link("eth0").is_some(), "it belongs to another");
}

#[test]
fn a_spooled_del_deletes_what_was_there_when_it_came_and_nothing_newer() {
    rows!("P-094");
    for (name, at, is_due) in [
        ("earlier", Some(json!({"boottimeNs": 1})), false),
        ("boot", Some(json!({"bootId": "another"})), false),
        ("later", Some(json!({"boottimeNs": u64::MAX})), true),
        ("nothing", None, true),
    ] {
        let node = node!();
        let mut stage = Stage::start(&node);
        let (_sandbox, target) = stage.attached("pod");
        stage.daemon.kill9();
        stage.runtime.del(&target).expect_code(11);
        let path = format!("/var/lib/plexus/spool/{}:eth0.json", target.container);
        node.run(|| {
            let mut request: Value =
                serde_json::from_slice(&std::fs::read(&path).expect("it is there")).expect("JSON");
            match &at {
                Some(at) => at
                    .as_object()
                    .expect("keys")
                    .iter()
                    .for_each(|(key, value)| {
                        assert!(!request["at"][key].is_null(), "{request}");
                        request["at"][key] = value.clone();
                    }),
                None => drop(request.as_object_mut().expect("an object").remove("at")),
            }
            std::fs::write(&path, request.to_string()).expect("it can be written");
        });
        stage.daemon.launch();
        stage.wait_spool(&[]);
        if is_due {
            stage.wait_records(&[]);
            assert_eq!(
                stage.calls(&target, 2),
                ["DEL second net1", "DEL main eth0"],
                "{name}"
            );
        } else {
            assert_eq!(stage.records(), [target.container.as_str()], "{name}");
            assert_eq!(stage.calls(&target, 2), [] as [&str; 0], "{name}");
            stage.runtime.del(&target).expect_silence();
        }
    }
}

#[test]
fn what_a_killed_shim_left_half_written_is_removed() {
    let node = node!();
    let (mut stage, ..) = spooled(&node);
    node.run(|| {
        std::fs::write("/var/lib/plexus/spool/.c:eth0.4294967295", "{\"env")
            .expect("it can be written");
    });
    stage.daemon.launch();
    stage.wait_spool(&[]);
    stage.wait_records(&[]);
    assert_eq!(stage.files("spool"), [] as [&str; 0]);
}

#[test]
fn a_file_in_the_spool_that_is_no_request_is_kept_aside() {
    let node = node!();
    let (mut stage, ..) = spooled(&node);
    node.run(|| {
        std::fs::write("/var/lib/plexus/spool/c:eth0.json", "{\"env").expect("it can be written");
    });
    stage.daemon.launch();
    stage.wait_spool(&[]);
    let quarantine = stage.files("quarantine");
    assert!(
        quarantine.len() == 1 && quarantine[0].starts_with("c:eth0.json"),
        "{quarantine:?}"
    );
}
