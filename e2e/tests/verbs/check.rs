//! CHECK: every attachment is as its ADD left it.

use plexus_api::rows;
use plexus_e2e::{Call, Pod, node};
use serde_json::json;

use crate::plexus::{Plexus, attaches, runtime, target};

#[test]
fn every_attachment_is_asked_with_what_it_was_added_with() {
    rows!("P-036", "P-095", "P-096", "R-030", "K-048", "K-049");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let target = target(&sandbox, &Pod::new("p").with_networks("a,a@x0")).with_arg("FOO", "1");
    plexus.runtime.add(&target).result();
    let before = plexus.record();
    plexus.runtime.check(&target).expect_silence();
    assert_eq!(plexus.record(), before, "nothing is changed");
    plexus.runtime.del(&target).expect_silence();
    let calls = node.calls();
    let summaries: Vec<_> = calls.iter().map(Call::summary).collect();
    let order = ["main eth0", "a net1", "a x0"];
    let expected = [
        ("ADD", order),
        ("CHECK", order),
        ("DEL", ["a x0", "a net1", "main eth0"]),
    ];
    let expected: Vec<_> = expected
        .iter()
        .flat_map(|(verb, order)| order.iter().map(move |of| format!("{verb} {of}")))
        .collect();
    assert_eq!(summaries, expected);
    for (index, add) in calls[..3].iter().enumerate() {
        for call in [&calls[3 + index], &calls[8 - index]] {
            let without_verb = |call: &Call| {
                let mut env = call.env.clone();
                env.remove("CNI_COMMAND");
                env
            };
            assert_eq!(without_verb(call), without_verb(add), "{}", call.summary());
            let mut config = call.config();
            let result = config
                .as_object_mut()
                .and_then(|config| config.remove("prevResult"))
                .expect("prevResult");
            assert_eq!(result["interfaces"][0]["name"], add.env("CNI_IFNAME"));
            assert_eq!(config, add.config(), "{}", call.summary());
        }
    }
}

#[test]
fn the_first_that_fails_is_the_answer() {
    rows!("P-035", "P-043", "P-095", "R-104");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.networks(&["a", "b"]);
    let (_, target) = plexus.attached("p", "a,b");
    node.plugin(
        "a",
        &attaches().fails("CHECK", 120, "the lease is another's"),
    );
    node.forget_calls();
    let answer = plexus.runtime.check(&target);
    let expected = "CHECK pod default/p: network \"default/a\" interface \"net1\": plugin \"a\": the lease is another's";
    assert_eq!(answer.expect_code(120), expected);
    assert_eq!(plexus.calls(), ["CHECK main eth0", "CHECK a net1"]);
}

#[test]
fn what_is_gone_is_missed_whatever_the_plugins_say() {
    rows!("P-097");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    sandbox.ip("link del net1");
    plexus
        .runtime
        .check(&target)
        .expect_error(108, &["net1", "default/a", "default/p"]);
}

#[test]
fn a_network_may_be_left_out() {
    rows!("K-011", "P-098", "R-065");
    let node = node!();
    let plexus = Plexus::start(&node);
    for (name, config) in [
        ("old", json!({"cniVersion": "0.3.1", "type": "old"})),
        (
            "blind",
            json!({
                "cniVersion": "0.4.0", "cniVersions": ["0.4.0", "1.1.0"], "disableCheck": true,
                "plugins": [{"type": "blind"}],
            }),
        ),
        ("new", json!({"cniVersion": "1.0.0", "type": "new"})),
    ] {
        node.plugin(name, &attaches());
        plexus.manifests.definition(name, &config);
    }
    let (sandbox, target) = plexus.attached("p", "old,blind,new");
    assert_eq!(plexus.calls_of("ADD")[2].config()["cniVersion"], "1.1.0");
    node.forget_calls();
    plexus.runtime.check(&target).expect_silence();
    assert_eq!(plexus.calls(), ["CHECK main eth0", "CHECK new net3"]);
    // Its owner said that it is not to be looked at.
    sandbox.ip("link del net2");
    plexus.runtime.check(&target).expect_silence();
}

#[test]
fn what_is_not_attached_fails_without_a_plugin() {
    rows!("P-099", "R-066");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (_, target) = plexus.sandbox("p", "");
    plexus
        .runtime
        .check(&target)
        .expect_error(108, &["default/p", "eth0"]);
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_silence();
    node.forget_calls();
    plexus.runtime.check(&target).expect_code(108);
    assert_eq!(plexus.calls(), [""; 0]);
}

#[test]
fn a_result_in_an_older_version_serves() {
    rows!("R-087");
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin("a", &attaches());
    plexus
        .manifests
        .definition("a", &json!({"cniVersion": "0.4.0", "type": "a"}));
    let runtime = runtime(&node, json!({"cniVersion": "0.4.0"}));
    let (_, target) = plexus.sandbox("p", "a");
    runtime.add(&target).result();
    runtime.check(&target).expect_silence();
    let checks = plexus.calls_of("CHECK");
    assert_eq!(checks[1].config()["prevResult"]["cniVersion"], "0.4.0");
    assert_eq!(checks[1].config()["prevResult"]["ips"][0]["version"], "4");
    assert_eq!(checks[0].config()["prevResult"]["cniVersion"], "1.0.0");
}
