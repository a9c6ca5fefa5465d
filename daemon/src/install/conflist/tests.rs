use plexus_api::cni::{NetworkConfig, PluginConfig};
use plexus_api::rows;
use serde_json::{Value, json};

use super::{appended_plugins, check_usable, is_same_json, parse, render, shim_keys};
use crate::config::Fields;

fn network(config: &Value) -> NetworkConfig {
    parse(&config.to_string()).expect("a network")
}

fn rendered(fields: &Value, default_network: &Value, override_name: bool) -> Value {
    let keys = shim_keys(&Fields::parse(&fields.to_string()).expect("object"));
    serde_json::from_str(&render(
        &keys,
        &network(default_network),
        override_name,
        &[],
    ))
    .expect("JSON")
}

#[test]
fn the_list_offers_newer_versions_to_newer_runtimes() {
    rows!("P-068");
    let default_network =
        json!({"cniVersion": "0.3.1", "name": "pods", "plugins": [{"type": "a"}]});
    let list = rendered(&json!({"cniVersion": "0.3.1"}), &default_network, false);
    assert_eq!(
        list["cniVersion"], "1.0.0",
        "the cniVersion of the daemon's configuration has no effect"
    );
    assert_eq!(list["cniVersions"], json!(["1.0.0", "1.1.0"]));
    assert_eq!(list["name"], "plexus");
    assert_eq!(list["plugins"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["plugins"][0]["type"], "plexus");
    assert_eq!(rendered(&json!({}), &default_network, true)["name"], "pods");
}

#[test]
fn our_plugin_declares_the_capabilities_of_the_default_network_and_pod_annotations() {
    rows!("C-03", "C-06");
    let default_network = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [
        {"type": "a", "capabilities": {"portMappings": true, "mac": false}},
        {"type": "b", "capabilities": {"bandwidth": true}},
    ]});
    let list = rendered(&json!({}), &default_network, false);
    let all =
        json!({"portMappings": true, "bandwidth": true, "io.kubernetes.cri.pod-annotations": true});
    assert_eq!(list["plugins"][0]["capabilities"], all);
}

#[test]
fn our_plugin_has_the_configured_keys_of_the_shim_with_host_paths() {
    let default_network = json!({"cniVersion": "1.0.0", "name": "pods", "type": "a"});
    let fields = json!({
        "DaemonSocketDir": "/host/run/plexus", "stateDir": "/var/lib/p", "delWhenDown": "spool", "daemonWaitAdd": "5s",
        "clusterNetwork": "/x", "binDir": "/y",
    });
    let plugin = rendered(&fields, &default_network, false)["plugins"][0].clone();
    let expected = json!({
        "type": "plexus", "capabilities": {"io.kubernetes.cri.pod-annotations": true}, "stateDir": "/var/lib/p",
        "daemonSocketDir": "/run/plexus", "delWhenDown": "spool", "daemonWaitAdd": "5s",
    });
    assert_eq!(plugin, expected);
}

#[test]
fn appended_plugins_are_kept_byte_for_byte() {
    let list = r#"{"cniVersion":"1.0.0","name":"plexus","plugins":[
        {"type":"istio-cni","big":12345678901234567890123},{"type":"plexus","capabilities":{}},
        {"type":"linkerd-cni","n":1.50},{"type":"x","delegate":{"type":"plexus"}}]}"#;
    let appended = appended_plugins(list).expect("our list");
    let kinds: Vec<_> = appended.iter().map(PluginConfig::kind).collect();
    assert_eq!(kinds, ["istio-cni", "linkerd-cni"]);
    let default_network = network(&json!({"cniVersion": "1.0.0", "name": "pods", "type": "a"}));
    let text = render(
        &shim_keys(&Fields::default()),
        &default_network,
        false,
        &appended,
    );
    assert!(
        text.contains("12345678901234567890123") && text.contains("1.50"),
        "{text}"
    );
    let list: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        list["plugins"][0]["type"], "plexus",
        "our plugin is the first, so it gets no prevResult"
    );
    for text in [
        r#"{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"other"}]}"#,
        "{",
        "",
    ] {
        assert!(appended_plugins(text).is_none(), "{text}");
    }
}

#[test]
fn texts_with_different_layout_contain_the_same_json() {
    assert!(is_same_json(
        r#"{"a":1,"b":[2]}"#,
        "{ \"b\": [2],\n\"a\": 1 }"
    ));
    for (left, right) in [(r#"{"a":1}"#, r#"{"a":2}"#), ("", ""), ("{", "{")] {
        assert!(!is_same_json(left, right), "{left} {right}");
    }
}

#[test]
fn every_valid_list_except_ours_is_usable() {
    let list = |kind: &str| {
        format!(r#"{{"cniVersion":"1.0.0","name":"x","plugins":[{{"type":"{kind}"}}]}}"#)
    };
    check_usable(&list("calico")).expect("usable");
    check_usable(&list("multus-shim")).expect("a node may go back to Multus");
    for text in [list("plexus"), String::new(), r#"{"name":"x"}"#.to_owned()] {
        check_usable(&text).expect_err(&text);
    }
}
