//! CHECK: every attachment is as ADD has left it.

use plexus_api::rows;
use plexus_e2e::{Plexus, PluginCall, Pod, Script, Step, attaches, node};
use serde_json::json;

#[test]
fn check_and_del_pass_the_environment_and_configuration_of_add() {
    rows!("P-036", "P-095", "P-096", "R-030", "K-048", "K-049");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"checkPlugins": "all"}));
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let target = sandbox
        .target(&Pod::new("p").with_networks("a,a@x0"))
        .with_arg("FOO", "1");
    plexus.runtime.add(&target).result();
    let before = plexus.record();
    plexus.runtime.check(&target).expect_success();
    assert_eq!(plexus.record(), before, "CHECK changes nothing");
    plexus.runtime.del(&target).expect_success();
    let order = ["main eth0", "a net1", "a x0"];
    let reverse = ["a x0", "a net1", "main eth0"];
    let expected: Vec<_> = [("ADD", order), ("CHECK", order), ("DEL", reverse)]
        .iter()
        .flat_map(|(operation, calls)| calls.map(|call| format!("{operation} {call}")))
        .collect();
    assert_eq!(plexus.calls(), expected);
    let calls = node.calls();
    let env = |call: &PluginCall| {
        let mut env = call.env.clone();
        env.remove("CNI_COMMAND");
        env
    };
    for (index, add) in calls[..3].iter().enumerate() {
        for call in [&calls[3 + index], &calls[8 - index]] {
            let name = call.summary();
            assert_eq!(env(call), env(add), "{name}");
            let mut config = call.config();
            let result = config.as_object_mut().expect("an object");
            let result = result.remove("prevResult").expect("prevResult");
            assert_eq!(result["interfaces"][0]["name"], add.env("CNI_IFNAME"));
            assert_eq!(config, add.config(), "{name}");
        }
    }
}

#[test]
fn check_stops_at_the_first_failure() {
    rows!("P-035", "P-043", "P-095", "R-104");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"checkPlugins": "all"}));
    plexus.networks(&["a", "b"]);
    let (_, target) = plexus.attached("p", "a,b");
    let fails = attaches().fails("CHECK", 120, "the lease is another's");
    node.plugin("a", &fails);
    node.forget_calls();
    let output = plexus.runtime.check(&target);
    let expected = "CHECK pod default/p: network \"default/a\" interface \"net1\": plugin \"a\": \
                    the lease is another's (code 120)";
    assert_eq!(output.expect_code(120), expected);
    assert_eq!(plexus.calls(), ["CHECK main eth0", "CHECK a net1"]);
}

#[test]
fn a_missing_link_fails_check_even_if_all_plugins_succeed() {
    rows!("P-097");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    sandbox.ip("link del net1");
    let output = plexus.runtime.check(&target);
    output.expect_error(108, &["net1", "default/a", "default/p"]);
}

#[test]
fn networks_without_check_are_skipped() {
    rows!("K-011", "P-098", "R-065");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"checkPlugins": "all"}));
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
    let blind = &plexus.calls_of("ADD")[2];
    assert_eq!(blind.config()["cniVersion"], "1.1.0");
    node.forget_calls();
    plexus.runtime.check(&target).expect_success();
    assert_eq!(plexus.calls(), ["CHECK main eth0", "CHECK new net3"]);
    // With disableCheck the link is not checked either.
    sandbox.ip("link del net2");
    plexus.runtime.check(&target).expect_success();
}

#[test]
fn check_of_an_interface_that_is_not_attached_fails_without_plugins() {
    rows!("P-099", "R-066");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (_, target) = plexus.sandbox("p", "");
    let output = plexus.runtime.check(&target);
    output.expect_error(108, &["default/p", "eth0"]);
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_success();
    node.forget_calls();
    plexus.runtime.check(&target).expect_code(108);
    assert_eq!(plexus.calls(), [""; 0]);
}

#[test]
fn plugins_get_prev_result_in_the_version_of_their_network() {
    rows!("R-087");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"checkPlugins": "all"}));
    node.plugin("a", &attaches());
    plexus
        .manifests
        .definition("a", &json!({"cniVersion": "0.4.0", "type": "a"}));
    let runtime = plexus.runtime_with(json!({"cniVersion": "0.4.0"}));
    let (_, target) = plexus.sandbox("p", "a");
    runtime.add(&target).result();
    runtime.check(&target).expect_success();
    let checks = plexus.calls_of("CHECK");
    let results = [0, 1].map(|index| checks[index].config()["prevResult"].take());
    assert_eq!(results[1]["cniVersion"], "0.4.0");
    assert_eq!(results[1]["ips"][0]["version"], "4");
    assert_eq!(results[0]["cniVersion"], "1.0.0");
}

#[test]
fn check_runs_the_plugins_of_the_selected_networks_and_looks_for_the_links_of_all() {
    rows!("P-095", "P-097");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    let main = ["CHECK main eth0"].as_slice();
    for (keys, expected) in [
        (json!({}), main),
        (json!({"checkPlugins": "default"}), main),
        (
            json!({"checkPlugins": "all"}),
            &["CHECK main eth0", "CHECK a net1"],
        ),
        (json!({"checkPlugins": "none"}), &[]),
    ] {
        node.forget_calls();
        plexus
            .runtime_with(keys.clone())
            .check(&target)
            .expect_success();
        assert_eq!(plexus.calls(), *expected, "{keys}");
    }
    sandbox.ip("link del net1");
    let runtime = plexus.runtime_with(json!({"checkPlugins": "none"}));
    runtime.check(&target).expect_error(108, &["net1"]);
    let runtime = plexus.runtime_with(json!({"checkPlugins": "some"}));
    runtime
        .check(&target)
        .expect_error(2, &["checkPlugins", "some", "default"]);
}

#[test]
fn only_links_that_the_sandbox_had_after_add_are_looked_for() {
    rows!("P-096", "P-097");
    let node = node!();
    let plexus = Plexus::start(&node);
    // As of sriov with a device bound to vfio-pci: an interface in the sandbox without a link.
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "$IFNAME", "sandbox": "$NETNS"}, {"name": "aux0", "sandbox": "$NETNS"}],
    });
    let aux: Vec<_> = "ip -n p link add aux0 type bridge"
        .split(' ')
        .map(str::to_owned)
        .collect();
    let add = [Step::Run(aux), Step::Result(result)];
    plexus.network("userspace", &Script::new().on("ADD", add));
    let (sandbox, target) = plexus.attached("p", "userspace");
    plexus.runtime.check(&target).expect_success();
    // The result also has a link.
    sandbox.ip("link del aux0");
    let output = plexus.runtime.check(&target);
    output.expect_error(108, &["aux0", "default/userspace"]);
}

#[test]
fn the_record_of_an_older_plexusd_passes_check() {
    rows!("P-096", "R-081");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.attached("p", "a");
    let record = plexus.record();
    let older: String = record
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("{\"links\""))
        .collect();
    assert_ne!(older, record);
    plexus.write_record(&older);
    // The record does not say whether this interface ever was a link.
    sandbox.ip("link del net1");
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
}
