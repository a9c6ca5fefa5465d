//! Limits of the number of networks and of the duration of ADD and DEL.

use plexus_api::rows;
use plexus_e2e::{Plexus, Pod, Step, attaches, node};
use serde_json::json;

/// A pod that selects the network `a` this many times.
fn pod(networks: usize) -> Pod {
    Pod::new("p").with_networks(vec!["a"; networks].join(","))
}

#[test]
fn a_pod_may_have_64_networks() {
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let output = plexus.runtime.add(&sandbox.target(&pod(65)));
    let msg = output.expect_code(105);
    assert!(
        msg.contains("pod default/p") && msg.contains("65") && msg.contains("64"),
        "{msg}"
    );
    assert_eq!(plexus.calls(), [""; 0]);
    let target = sandbox.target(&pod(64));
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_success();
    assert_eq!(plexus.calls().len(), 2 * 65);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_pod_with_too_many_networks_is_refused_before_a_definition_is_looked_up() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("pod");
    let json_form = format!("[{}]", vec![r#"{"name":"missing"}"#; 12_000].join(","));
    for networks in [vec!["missing"; 30_000].join(","), json_form] {
        let pod = Pod::new("p").with_networks(networks);
        let output = plexus.runtime.add(&sandbox.target(&pod));
        let msg = output.expect_code(105);
        assert!(msg.contains("may have 64"), "{msg}");
    }
    assert_eq!(plexus.files("ledger"), [""; 0]);
}

#[test]
fn a_pod_with_too_large_configurations_is_refused_before_anything_runs() {
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin("a", &attaches());
    let note = "x".repeat(200 << 10);
    plexus.manifests.definition(
        "a",
        &json!({"cniVersion": "1.0.0", "type": "a", "note": note}),
    );
    let sandbox = node.sandbox("pod");
    let output = plexus.runtime.add(&sandbox.target(&pod(60)));
    let msg = output.expect_code(105);
    assert!(
        msg.contains("may have 8 MiB") && msg.contains("\"a\"") && msg.len() < 400,
        "{msg}"
    );
    assert_eq!(plexus.calls(), [""; 0]);
    let target = sandbox.target(&pod(3));
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn the_results_of_a_pod_are_limited_in_sum() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let search = "x".repeat(600 << 10);
    let result = json!({"cniVersion": "1.0.0", "dns": {"search": [search]}});
    let large = attaches().on("ADD", [Step::link(), Step::Result(result)]);
    plexus.network("a", &large);
    let (sandbox, target) = plexus.sandbox("p", "a,a");
    let output = plexus.runtime.add(&target);
    let msg = output.expect_code(6);
    assert!(
        msg.contains("more than 1048576 bytes in sum") && msg.contains("net2"),
        "{msg}"
    );
    plexus.assert_nothing_left(&sandbox);

    let values = vec![0; 10_000];
    let result = json!({"cniVersion": "1.0.0", "note": values});
    let many = attaches().on("ADD", [Step::link(), Step::Result(result)]);
    plexus.network("b", &many);
    let (sandbox, target) = plexus.sandbox("q", "b,b");
    let output = plexus.runtime.add(&target);
    let msg = output.expect_code(6);
    assert!(
        msg.contains("more than 16384 values in sum") && msg.contains("net2"),
        "{msg}"
    );
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_record_has_only_the_arguments_that_a_plugin_declares() {
    let node = node!();
    let plexus = Plexus::on(&node)
        .default_network(json!({
            "cniVersion": "1.0.0", "name": "pods",
            "plugins": [{"type": "main", "capabilities": {"cgroupPath": true}}],
        }))
        .start();
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").annotated("vault", "secret-annotation");
    let target = sandbox
        .target(&pod)
        .with_capability("cgroupPath", json!("/kubepods"))
        .with_capability("undeclared", json!("secret-argument"));
    plexus.runtime.add(&target).result();
    let record = plexus.record();
    assert!(record.contains("/kubepods"), "{record}");
    assert!(!record.contains("secret-"), "{record}");
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_del_ends_within_its_time_limit_and_names_the_attachments_that_were_not_tried() {
    rows!("C-27");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"delTimeout": "1s"}));
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    node.plugin("a", &attaches().on("DEL", [Step::Hang]));
    node.forget_calls();
    let output = plexus.runtime.del(&target);
    let msg = output.expect_code(11);
    assert!(
        msg.contains("interface \"eth0\": the other attachments have used up delTimeout"),
        "{msg}"
    );
    assert_eq!(plexus.calls(), ["DEL a net1"], "{msg}");
    node.plugin("a", &attaches());
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn an_add_ends_within_its_time_limit_if_a_plugin_hangs() {
    rows!("C-27");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"addTimeout": "1s"}));
    plexus.network("a", &attaches().on("ADD", [Step::Hang]));
    let (sandbox, target) = plexus.sandbox("p", "a");
    let output = plexus.runtime.add(&target);
    let msg = output.expect_code(11);
    // Not the limit of a single plugin, which is 30 s.
    assert!(
        msg.contains("took longer than") && !msg.contains("30s"),
        "{msg}"
    );
    assert_eq!(
        plexus.calls(),
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    plexus.assert_nothing_left(&sandbox);
}
