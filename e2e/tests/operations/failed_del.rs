//! DELs that fail.

use std::fs;

use plexus_api::rows;
use plexus_api::wire::Request;
use plexus_e2e::{Plexus, Script, Step, attaches, node};
use serde_json::json;

/// A plugin whose DEL fails.
fn fails() -> Script {
    attaches().fails("DEL", 120, "the switch does not answer")
}

#[test]
fn all_attachments_are_tried_and_only_failed_ones_are_retried() {
    rows!("P-043", "P-091", "P-092", "R-090", "R-104", "K-093");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.networks(&["a", "b"]);
    let (sandbox, target) = plexus.attached("p", "a,b");
    node.plugin("a", &fails());
    for _ in 0..2 {
        node.forget_calls();
        let output = plexus.runtime.del(&target);
        let expected = "DEL pod default/p: network \"default/a\" interface \"net1\": \
                        plugin \"a\": the switch does not answer (code 120)";
        assert_eq!(output.expect_code(120), expected);
        assert_eq!(plexus.records().len(), 1);
    }
    // The calls of the second DEL.
    assert_eq!(plexus.calls(), ["DEL a net1"]);
    node.plugin("a", &attaches());
    node.forget_calls();
    plexus.runtime.del(&target).expect_success();
    assert_eq!(plexus.calls(), ["DEL a net1"]);
    let config = node.calls()[0].config();
    assert_eq!(config["prevResult"]["interfaces"][0]["name"], "net1");
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn several_failures_are_reported_in_one_message() {
    rows!("P-091");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.networks(&["a", "b"]);
    let (_, target) = plexus.attached("p", "a,b");
    node.plugin("a", &attaches().fails("DEL", 120, "no switch"));
    node.plugin("main", &attaches().fails("DEL", 11, "no time"));
    node.forget_calls();
    let output = plexus.runtime.del(&target);
    let expected = "DEL pod default/p: network \"default/a\" interface \"net1\": plugin \"a\": \
                    no switch; network \"pods\" interface \"eth0\": plugin \"main\": no time (code 120)";
    assert_eq!(output.expect_code(120), expected);
    assert_eq!(
        plexus.calls(),
        ["DEL b net2", "DEL a net1", "DEL main eth0"]
    );
}

#[test]
fn a_missing_plugin_affects_only_its_own_attachment() {
    rows!("R-070");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    let (plugin, moved) = (node.bin_dir().join("a"), node.scratch().join("a"));
    fs::rename(&plugin, &moved).expect("move the plugin");
    let output = plexus.runtime.del(&target);
    output.expect_error(102, &["\"a\"", "net1"]);
    assert!(sandbox.link("eth0").is_none() && sandbox.link("net1").is_some());
    fs::rename(&moved, &plugin).expect("move the plugin");
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn errors_do_not_contain_words_that_runtimes_take_for_success() {
    rows!("C-10");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (sandbox, target) = plexus.attached("p", "");
    let error = json!({
        "code": 120, "msg": "lease not found: No such file or directory", "details": "Not Found",
    });
    node.plugin("main", &attaches().on("DEL", [Step::Error(error)]));
    let output = plexus.runtime.del(&target);
    output.expect_code(120);
    let text = output.stdout.to_lowercase();
    assert!(
        !text.contains("not found") && !text.contains("no such file"),
        "{text}"
    );
    // The same without the shim.
    let config = json!({"cniVersion": "1.1.0", "name": "plexus", "type": "plexus"}).to_string();
    let env = json!({"CNI_COMMAND": "DEL", "CNI_CONTAINERID": sandbox.id(), "CNI_IFNAME": "eth0"});
    let request = Request {
        env: serde_json::from_value(env).expect("strings"),
        config: config.into(),
        at: None,
    };
    let body = serde_json::to_vec(&request).expect("a request is JSON");
    let reply = plexus.daemon.post("/cni", &body).expect("a reply");
    let text = reply.body.to_lowercase();
    assert!(
        reply.status == 400 && !text.contains("not found") && !text.contains("no such file"),
        "{reply:?}"
    );
}

#[test]
fn a_record_without_a_result_is_deleted_without_prev_result() {
    rows!("P-089", "R-086");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    let (sandbox, target) = plexus.attached("p", "");
    plexus.daemon.stop();
    let record = plexus.record();
    let is_result = |line: &&str| line.starts_with("{\"added\"");
    let kept: Vec<_> = record.lines().filter(|line| !is_result(line)).collect();
    assert!(kept.len() < record.lines().count(), "{record}");
    plexus.write_record(&(kept.join("\n") + "\n"));
    plexus.daemon.restart();
    let check = plexus.runtime.check(&target);
    check.expect_error(108, &["result"]);
    plexus.runtime.del(&target).expect_success();
    let calls = plexus.calls_of("DEL");
    assert_eq!(
        (calls.len(), calls[0].config().get("prevResult")),
        (1, None)
    );
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_damaged_record_does_not_prevent_del_of_the_default_network() {
    rows!("P-090", "R-086");
    let node = node!();
    let mut plexus = Plexus::start(&node);
    for (name, damage) in [
        ("cut", "{\"planned\": {\"format\": 1, \"cont\n"),
        ("other", "[]\n"),
        ("empty", ""),
        ("zeros", "\0\0\0\0\n"),
    ] {
        let (_, target) = plexus.attached(name, "");
        plexus.daemon.stop();
        plexus.write_record(damage);
        plexus.daemon.restart();
        let check = plexus.runtime.check(&target);
        assert!(!check.ok(), "{name}: {check:?}");
        node.forget_calls();
        plexus.runtime.del(&target).expect_success();
        assert_eq!(plexus.calls(), ["DEL main eth0"], "{name}");
        assert_eq!(plexus.records(), [""; 0], "{name}");
    }
}

#[test]
fn del_succeeds_after_repeated_failures_and_recovery_keeps_retrying() {
    rows!("R-090", "R-067");
    let node = node!();
    let keys = json!({"orphanAfter": "1ms", "recoveryInterval": "20ms"});
    let plexus = Plexus::start_with(&node, keys);
    let (sandbox, target) = plexus.attached("p", "");
    node.plugin("main", &fails());
    // Recovery retries as well, so it may have caused one of the failures.
    let mut failures = 0;
    while !plexus.runtime.del(&target).ok() {
        failures += 1;
    }
    assert!((1..=2).contains(&failures), "{failures}");
    assert!(plexus.record().contains("orphaned"));
    plexus.runtime.del(&target).expect_success();
    // The plugin recovers, and the runtime does not send another DEL.
    node.plugin("main", &attaches());
    plexus.wait_records(&[]);
    // This DEL waits until recovery has finished its clean-up.
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn the_first_failures_of_del_are_returned_to_the_runtime() {
    let node = node!();
    let keys = json!({"orphanAfter": "1h", "recoveryInterval": "1h"});
    let plexus = Plexus::start_with(&node, keys);
    let (_, target) = plexus.attached("p", "");
    node.plugin("main", &fails());
    for _ in 0..5 {
        plexus.runtime.del(&target).expect_code(120);
    }
    assert!(!plexus.record().contains("orphaned"));
}

#[test]
fn a_plugin_that_hangs_in_del_leaves_time_for_the_others() {
    rows!("P-091");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"delTimeout": "3s"}));
    plexus.networks(&["a", "b"]);
    let (sandbox, target) = plexus.attached("p", "a,b");
    node.plugin("b", &attaches().on("DEL", [Step::Hang]));
    node.forget_calls();
    plexus.runtime.del(&target).expect_error(11, &["net2"]);
    assert_eq!(
        plexus.calls(),
        ["DEL b net2", "DEL a net1", "DEL main eth0"]
    );
    assert_eq!(sandbox.link_names(), ["lo", "net2"]);
}
