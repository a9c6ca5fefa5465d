use plexus_api::cni::{Defaults, NetworkConfig, Version};
use plexus_api::rows;
use serde_json::{Value, json};

use super::{others, render, same, shim_keys, usable};
use crate::config::Fields;

fn network(config: &Value) -> NetworkConfig {
    NetworkConfig::parse(
        &config.to_string(),
        Defaults {
            name: None,
            version: Version::V1_0_0,
        },
    )
    .expect("a network")
}

fn rendered(fields: &Value, default_network: &Value, rename: bool) -> Value {
    let keys = shim_keys(&Fields::parse(&fields.to_string()).expect("object"));
    serde_json::from_str(&render(&keys, &network(default_network), rename, &[])).expect("JSON")
}

#[test]
fn the_list_offers_new_versions_to_those_who_know_them() {
    rows!("P-068");
    let default_network =
        json!({"cniVersion": "0.3.1", "name": "pods", "plugins": [{"type": "a"}]});
    let list = rendered(&json!({"cniVersion": "0.3.1"}), &default_network, false);
    assert_eq!(
        list["cniVersion"], "1.0.0",
        "cniVersion of the daemon's file never lowers it"
    );
    assert_eq!(list["cniVersions"], json!(["1.0.0", "1.1.0"]));
    assert_eq!(list["name"], "plexus");
    assert_eq!(list["plugins"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["plugins"][0]["type"], "plexus");
    assert_eq!(rendered(&json!({}), &default_network, true)["name"], "pods");
}

#[test]
fn it_declares_what_the_default_network_can_and_the_annotations() {
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
fn it_has_the_keys_of_the_shim_where_they_are_set_with_the_paths_of_the_host() {
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
fn what_others_appended_is_found_and_kept_to_the_letter() {
    let list = r#"{"cniVersion":"1.0.0","name":"plexus","plugins":[
        {"type":"istio-cni","big":12345678901234567890123},{"type":"plexus","capabilities":{}},
        {"type":"linkerd-cni","n":1.50},{"type":"x","delegate":{"type":"plexus"}}]}"#;
    let others = others(list).expect("it is ours");
    assert_eq!(
        others
            .iter()
            .map(plexus_api::cni::PluginConfig::kind)
            .collect::<Vec<_>>(),
        ["istio-cni", "linkerd-cni"]
    );
    let default_network = network(&json!({"cniVersion": "1.0.0", "name": "pods", "type": "a"}));
    let text = render(
        &shim_keys(&Fields::default()),
        &default_network,
        false,
        &others,
    );
    assert!(
        text.contains("12345678901234567890123") && text.contains("1.50"),
        "{text}"
    );
    let kinds: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        kinds["plugins"][0]["type"], "plexus",
        "ours is the first: what comes before it would be its prevResult"
    );
    for text in [
        r#"{"cniVersion":"1.0.0","name":"x","plugins":[{"type":"other"}]}"#,
        "{",
        "",
    ] {
        assert!(super::others(text).is_none(), "{text}");
    }
}

#[test]
fn layout_makes_no_difference_but_words_do() {
    assert!(same(r#"{"a":1,"b":[2]}"#, "{ \"b\": [2],\n\"a\": 1 }"));
    for (one, two) in [(r#"{"a":1}"#, r#"{"a":2}"#), ("", ""), ("{", "{")] {
        assert!(!same(one, two), "{one} {two}");
    }
}

#[test]
fn the_runtime_can_start_pods_by_any_list_but_ours() {
    let list = |kind: &str| {
        format!(r#"{{"cniVersion":"1.0.0","name":"x","plugins":[{{"type":"{kind}"}}]}}"#)
    };
    usable(&list("calico")).expect("usable");
    usable(&list("multus-shim")).expect("a node goes back to Multus");
    for text in [list("plexus"), String::new(), r#"{"name":"x"}"#.to_owned()] {
        usable(&text).expect_err(&text);
    }
}
