//! Definitions: their configuration, networks on disk, and errors.

use std::fs;

use plexus_api::rows;
use plexus_e2e::{Node, Plexus, Pod, Script, attaches, node};
use serde_json::{Value, json};

use crate::assert_error;

/// A network with one scripted plugin.
fn single(node: &Node, name: &str, plugin: &str) -> Value {
    node.plugin(plugin, &attaches());
    json!({"cniVersion": "1.0.0", "name": name, "type": plugin})
}

/// The same as a list of plugins.
pub fn list(node: &Node, name: &str, plugin: &str) -> Value {
    node.plugin(plugin, &attaches());
    json!({"cniVersion": "1.0.0", "name": name, "plugins": [{"type": plugin}]})
}

#[test]
fn a_definition_without_configuration_uses_the_network_of_its_name_on_disk() {
    rows!("K-001", "K-002", "K-003", "K-004");
    let node = node!();
    let on_disk = |file: &str, config: Value| node.write_json(&format!("net.d/{file}"), &config);
    let (as_single, as_list) = ("on-disk-single", "on-disk-list");
    on_disk("10-single.conf", single(&node, "single", as_single));
    on_disk("20-both.conf", single(&node, "both", as_single));
    on_disk("30-both.conflist", list(&node, "both", as_list));
    on_disk("40-list.conflist", list(&node, "list", as_list));
    on_disk("50-own.conflist", list(&node, "own", as_list));
    let keys = json!({"confDir": node.scratch().join("net.d"), "lookupWait": "20ms"});
    let plexus = Plexus::start_with(&node, keys);
    node.plugin("own", &attaches());
    let own = json!({"cniVersion": "1.0.0", "type": "own"}).to_string();
    // An invalid configuration is not replaced by the file of its name.
    on_disk("60-wrong.conflist", list(&node, "wrong", as_list));
    for (name, config) in [
        ("own", Some(own.as_str())),
        ("single", None),
        ("list", Some("")),
        ("both", None),
        ("nowhere", None),
        ("wrong", Some("{")),
    ] {
        plexus.manifests.definition_in("default", name, config);
    }
    // The same kind in another API group is ignored.
    let foreign = json!({
        "apiVersion": "example.org/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "foreign", "namespace": "default"}, "spec": {"config": own},
    });
    let file = plexus.manifests.dir().join("foreign.yaml");
    fs::write(file, foreign.to_string()).expect("write the manifest");
    for (name, expected) in [
        ("own", Ok("own")),
        ("single", Ok(as_single)),
        ("list", Ok(as_list)),
        ("both", Ok(as_list)),
        ("nowhere", Err(104)),
        ("wrong", Err(6)),
        ("foreign", Err(104)),
    ] {
        node.forget_calls();
        let pod = Pod::new(name).with_networks(name);
        let output = plexus.runtime.add(&plexus.target(&pod));
        match expected {
            Ok(plugin) => {
                output.result();
                let calls = ["ADD main eth0".to_owned(), format!("ADD {plugin} net1")];
                assert_eq!(plexus.calls(), calls, "{name}");
                let status = plexus.network_status(&pod).expect("network-status");
                assert_eq!(status[1]["name"], format!("default/{name}"));
            }
            Err(code) => {
                output.expect_error(code, &[&format!("\"default/{name}\"")]);
                assert_eq!(plexus.calls(), [""; 0], "{name}");
            }
        }
    }
}

#[test]
fn a_configuration_without_a_name_gets_the_name_of_its_definition() {
    rows!("K-005", "K-006", "K-082");
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin("a", &attaches());
    let plugin = json!({"type": "a"});
    for (name, config, expected) in [
        (
            "absent",
            json!({"cniVersion": "0.3.0", "type": "a"}),
            "absent",
        ),
        (
            "empty",
            json!({"cniVersion": "1.0.0", "name": "", "type": "a"}),
            "empty",
        ),
        (
            "list",
            json!({"cniVersion": "1.0.0", "plugins": [plugin, plugin]}),
            "list",
        ),
        (
            "other",
            json!({"cniVersion": "1.0.0", "name": "called", "type": "a"}),
            "called",
        ),
    ] {
        plexus.manifests.definition(name, &config);
        node.forget_calls();
        let pod = Pod::new(name).with_networks(name);
        let output = plexus.runtime.add(&plexus.target(&pod));
        if name == "list" {
            // The second plugin fails because the first one created the link.
            assert!(!output.ok());
        } else {
            output.result();
            let status = plexus.network_status(&pod).expect("network-status");
            assert_eq!(status[1]["name"], format!("default/{name}"));
        }
        for call in &plexus.calls_of("ADD")[1..] {
            assert_eq!(call.config()["name"], expected, "{name}");
        }
    }
}

/// Definitions that cannot be used, with the error code and a part of the message.
fn unusable_definitions() -> Vec<(&'static str, String, u64, &'static str)> {
    let v1 = |rest: &str| format!(r#"{{"cniVersion": "1.0.0"{rest}}}"#);
    vec![
        (
            "broken",
            r#"{"cniVersion": "1.0.0", "type""#.into(),
            6,
            "JSON",
        ),
        ("list", "[]".into(), 6, "object"),
        ("typeless", v1(""), 7, "no plugin"),
        ("empty", v1(r#", "plugins": []"#), 7, "plugins"),
        ("path", v1(r#", "type": "../../bin/sh""#), 7, "../../bin/sh"),
        ("named", v1(r#", "name": "../x", "type": "a""#), 7, "../x"),
        (
            "future",
            r#"{"cniVersion": "2.0.0", "type": "a"}"#.into(),
            1,
            "2.0.0",
        ),
        ("own-type", v1(r#", "type": "plexus""#), 7, "plexus"),
        ("other-meta", v1(r#", "type": "multus""#), 7, "multus"),
        (
            "shim",
            v1(r#", "plugins": [{"type": "a"}, {"type": "multus-shim"}]"#),
            7,
            "multus-shim",
        ),
        (
            "deep",
            v1(r#", "type": "a", "x": [{"delegate": {"type": "multus"}}]"#),
            7,
            "multus",
        ),
        (
            "absent",
            v1(r#", "type": "absent-plugin""#),
            102,
            "\"absent-plugin\"",
        ),
    ]
}

#[test]
fn a_definition_that_cannot_be_used_is_reported_before_any_plugin_runs() {
    rows!("P-047", "R-005", "R-041", "K-004", "K-071");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"lookupWait": "10ms"}));
    node.plugin("a", &attaches());
    let sandbox = node.sandbox("pod");
    let assert_reported = |name: &str, code: u64, cause: &str| {
        let pod = Pod::new("p").with_networks(format!("{name}@if-{name}"));
        let output = plexus.runtime.add(&sandbox.target(&pod));
        let (network, ifname) = (format!("\"default/{name}\""), format!("\"if-{name}\""));
        assert_error(
            &output,
            code,
            &["ADD pod default/p", &network, &ifname, cause],
        );
        assert_eq!(plexus.calls(), [""; 0], "{name}");
        plexus.assert_nothing_left(&sandbox);
    };
    for (name, config, code, cause) in unusable_definitions() {
        plexus
            .manifests
            .definition_in("default", name, Some(&config));
        assert_reported(name, code, cause);
    }
    assert_reported("unknown", 104, "no network-attachment-definition");
}

#[test]
fn errors_and_logs_do_not_contain_the_configuration() {
    rows!("P-047");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &Script::new());
    for (name, config) in [
        ("broken", "{\"token\": \"s3cret\", \"type\": \"a\",,}"),
        (
            "wrong",
            "{\"token\": \"s3cret\", \"cniVersion\": \"1.0.0\", \"type\": 5}",
        ),
        (
            "missing",
            "{\"token\": \"s3cret\", \"cniVersion\": \"1.0.0\", \"type\": \"not-there\"}",
        ),
    ] {
        let manifests = &plexus.manifests;
        manifests.definition_in("default", name, Some(config));
        let pod = Pod::new("p").with_networks(name);
        let output = plexus.runtime.add(&node.sandbox(name).target(&pod));
        assert!(
            !output.ok() && !output.stdout.contains("s3cret") && !output.stderr.contains("s3cret"),
            "{output:?}"
        );
    }
    let log = plexus.daemon.log();
    assert!(!log.contains("s3cret"), "{log}");
}

#[test]
fn a_network_with_the_name_of_the_runtimes_own_does_not_share_its_cached_result() {
    rows!("R-082");
    let node = node!();
    let plexus = Plexus::start(&node);
    // libcni names its results by network, container and interface.
    let results = "/var/lib/cni/results";
    let pod = Pod::new("web").with_networks("like");
    plexus.manifests.pod(&pod);
    node.plugin("like", &attaches());
    plexus.manifests.definition(
        "like",
        &json!({"cniVersion": "1.0.0", "name": "plexus", "type": "like"}),
    );
    let sandbox = node.sandbox("web");
    let cached = format!("plexus-{}-net1", sandbox.id());
    let path = format!("{results}/{cached}");
    node.run(|| fs::create_dir_all(results))
        .expect("create the directory");
    node.write(&path, "the runtime's");
    let target = sandbox.target(&pod);
    plexus.runtime.add(&target).result();
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    assert_eq!(node.read(&path), "the runtime's");
    assert_eq!(node.list(results), [cached]);
    plexus.assert_nothing_left(&sandbox);
}
