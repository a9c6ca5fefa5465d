//! The keys of plugins: reading, writing, and storing them in a record.

use plexus_api::cni::{NetworkConfig, Version};
use plexus_api::rows;
use serde_json::json;

use crate::{DEFAULTS, kinds, list, parse, refused, single};

#[test]
fn keys_injected_by_a_runtime_are_accepted() {
    rows!("P-033");
    let network = parse(&single(&json!({
        "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a": "b"}},
        "prevResult": {"cniVersion": "1.0.0"},
        "args": {"cni": {}},
        "capabilities": {"mac": true},
        "cni.dev/valid-attachments": [],
        "cni.dev/attachments": [],
    })));
    assert_eq!(
        network.plugins[0].raw("prevResult").expect("kept").get(),
        r#"{"cniVersion":"1.0.0"}"#
    );
    assert!(network.declares("mac"));
}

#[test]
fn other_keys_are_passed_on_unchanged() {
    rows!("R-027");
    let values = [
        ("int", "9007199254740993"),
        ("huge", "1e400"),
        ("tenth", "0.1"),
        ("zeros", "1.500"),
        ("deep", r#"{ "a":[ [ {"b" : [1.0, -0]} ] ] }"#),
        ("text", r#""ä\u00e4\/\ud83d\ude00""#),
        ("null", "null"),
    ];
    let keys: Vec<_> = values
        .iter()
        .map(|(key, value)| format!("{key:?}: {value} "))
        .collect();
    let plugin = format!(r#"{{"type":"x", {}}}"#, keys.join(","));
    for text in [
        format!(r#"{{"name":"n","plugins":[{plugin}]}}"#),
        plugin.replacen('{', r#"{"name":"n","#, 1),
    ] {
        let network = NetworkConfig::parse(&text, DEFAULTS).expect("valid");
        for (key, value) in values {
            assert_eq!(network.plugins[0].as_map()[key].get(), value);
        }
        // Values also survive being recorded.
        let record = serde_json::to_string(&network).expect("JSON");
        let again: NetworkConfig = serde_json::from_str(&record).expect("the same");
        for (key, value) in values {
            assert_eq!(again.plugins[0].as_map()[key].get(), value);
        }
        assert!(record.contains(r#""huge":1e400"#), "{record}");
    }
}

#[test]
fn a_record_can_be_read_back() {
    let network = parse(
        &json!({"cniVersion": "0.4.0", "name": "n", "disableCheck": true, "disableGC": true, "plugins": [{"type": "a"}, {"type": "b"}]}),
    );
    let record = serde_json::to_value(&network).expect("JSON");
    let expected = json!({"name": "n", "cniVersion": "0.4.0", "disableCheck": true, "disableGC": true, "plugins": [{"type": "a"}, {"type": "b"}]});
    assert_eq!(record, expected);
    let again: NetworkConfig = serde_json::from_value(record).expect("the same");
    assert_eq!(
        (
            again.name.as_str(),
            again.cni_version,
            again.disable_check,
            kinds(&again)
        ),
        ("n", Version::V0_4_0, true, kinds(&network))
    );
    let lean: NetworkConfig =
        serde_json::from_str(r#"{"name":"n","cniVersion":"1.0.0","plugins":[{}]}"#).expect("valid");
    assert!(!lean.disable_check && !lean.disable_gc);
    // A record that was edited by hand must not cause a panic.
    assert_eq!(kinds(&lean), [""]);
}

#[test]
fn a_plugins_keys_can_be_read_and_set() {
    let mut network = parse(&single(&json!({"mtu": 1500, "ipam": {"type": "static"}})));
    let plugin = &mut network.plugins[0];
    assert_eq!(plugin.get::<u32>("mtu"), Some(1500));
    assert_eq!(plugin.get::<String>("mtu"), None);
    assert_eq!(plugin.get::<u32>("absent"), None);
    plugin.set("mtu", &9000).expect("a number");
    plugin
        .set("runtimeConfig", &json!({"mac": "x"}))
        .expect("an object");
    plugin.remove("ipam");
    assert_eq!(plugin.get::<u32>("mtu"), Some(9000));
    assert!(plugin.raw("ipam").is_none());
    assert_eq!(
        serde_json::to_value(&*plugin).expect("JSON"),
        single(&json!({"mtu": 9000, "runtimeConfig": {"mac": "x"}}))
    );
    let error = plugin
        .set("x", &std::collections::BTreeMap::from([((1, 2), 3)]))
        .expect_err("no JSON key");
    assert!(
        error.to_string().contains("\"x\" cannot be written"),
        "{error}"
    );
    assert!(plugin.raw("x").is_none());
}

#[test]
fn only_true_declares_a_capability() {
    let network = parse(&list(&json!({"plugins": [
        {"type": "a", "capabilities": {"mac": true, "ips": false, "bandwidth": "true", "portMappings": 1}},
        {"type": "b", "capabilities": {"dns": true}},
        {"type": "c", "capabilities": null},
        {"type": "d", "capabilities": [true]},
        {"type": "e"},
    ]})));
    let declared: Vec<Vec<String>> = network
        .plugins
        .iter()
        .map(|plugin| plugin.capabilities().into_iter().collect())
        .collect();
    assert_eq!(declared, [vec!["mac"], vec!["dns"], vec![], vec![], vec![]]);
    for (capability, expected) in [
        ("mac", true),
        ("dns", true),
        ("ips", false),
        ("bandwidth", false),
        ("x", false),
    ] {
        assert_eq!(network.declares(capability), expected, "{capability}");
    }
}

#[test]
fn keys_match_in_any_case_and_the_last_one_wins() {
    let read = |text: &str| NetworkConfig::parse(text, DEFAULTS).expect("usable");
    let text =
        r#"{"CniVersion":"0.3.1","NAME":"net","Type":"a","Capabilities":{"mac":true},"MTU":1}"#;
    let network = read(text);
    assert_eq!(
        (network.name.as_str(), network.cni_version),
        ("net", Version::V0_3_1)
    );
    let plugin = &network.plugins[0];
    assert_eq!(
        (plugin.kind().as_str(), plugin.capabilities().len()),
        ("a", 1)
    );
    assert!(
        plugin.as_map().contains_key("MTU"),
        "other keys are not renamed"
    );
    assert_eq!(plugin.get::<u32>("mtu"), Some(1));
    for (text, kind) in [
        (r#"{"name":"net","TYPE":"b","type":"a"}"#, "a"),
        (r#"{"name":"net","type":"a","TYPE":"b"}"#, "b"),
        (r#"{"name":"net","type":"a","TYPE":"b","type":"c"}"#, "c"),
        (r#"{"name":"net","type":"a","Type":null}"#, "a"),
        (r#"{"name":"net","Plugins":[{"type":"b","Type":"a"}]}"#, "a"),
    ] {
        let network = read(text);
        assert_eq!(network.plugins[0].kind(), kind, "{text}");
        let keys = network.plugins[0].as_map().keys();
        assert_eq!(
            keys.filter(|key| key.eq_ignore_ascii_case("type")).count(),
            1,
            "the plugin gets one type: {text}"
        );
    }
    let error =
        refused(&json!({"name": "net", "plugins": [{"type": "a"}], "Plugins": [{"type": "b"}]}));
    assert!(
        error.code == 7 && error.msg.contains("\"plugins\" is present more than once"),
        "{error}"
    );
}

#[test]
fn a_plugins_keys_are_those_that_the_plugin_reads() {
    let mut network = parse(&single(
        &json!({"deviceId": "a", "DEVICEID": "b", "X": 1, "x": null}),
    ));
    let plugin = &mut network.plugins[0];
    assert_eq!(plugin.get::<String>("deviceID").as_deref(), Some("a"));
    assert_eq!(plugin.get::<u32>("x"), Some(1));
    plugin.set("deviceID", "c").expect("a string");
    let expected = single(&json!({"deviceID": "c", "X": 1, "x": null}));
    assert_eq!(serde_json::to_value(&*plugin).expect("JSON"), expected);
}

#[test]
fn types_are_found_at_any_depth() {
    let text = r#"{"name":"n","plugins":[{"type":"a","ipam":{"Type":"b","type":"c","x":1e400},"IPAM":{"type":"d"},"delegate":{"delegate":{"ipam":[{"type":"e\ud800"}]}}}]}"#;
    let network = NetworkConfig::parse(text, DEFAULTS).expect("usable");
    let mut types: Vec<_> = network.plugins[0].types().collect();
    types.sort();
    assert_eq!(types, ["a", "b", "c", "d", "e\u{fffd}"]);
}

#[test]
fn a_byte_order_mark_and_text_that_go_repairs_are_accepted() {
    let text = b"\xef\xbb\xbf{\"name\":\"n\",\"type\":\"a\",\"x\":\"\xff\\udc00\"}";
    let network = NetworkConfig::parse(text, DEFAULTS).expect("usable");
    assert_eq!(
        network.plugins[0].get::<String>("x").as_deref(),
        Some("\u{fffd}\u{fffd}")
    );
    let bad = b"{\"name\":\"n\",\"type\":\"a\xff\"}";
    let error = NetworkConfig::parse(bad, DEFAULTS).expect_err("no file name");
    assert!(error.to_string().contains("must be a file name"), "{error}");
}

#[test]
fn the_ipam_type_is_read_in_any_case_and_the_last_one_counts() {
    for (plugin, expected) in [
        (r#"{"type":"a"}"#, None),
        (r#"{"type":"a","ipam":{}}"#, None),
        (r#"{"type":"a","ipam":null}"#, None),
        (r#"{"type":"a","ipam":{"type":""}}"#, None),
        (r#"{"type":"a","ipam":{"type":7}}"#, None),
        (r#"{"type":"a","ipam":"static"}"#, None),
        (r#"{"type":"a","ipam":{"type":"static"}}"#, Some("static")),
        (r#"{"type":"a","IPAM":{"Type":"static"}}"#, Some("static")),
        (
            r#"{"type":"a","IPAM":{"type":"dhcp"},"ipam":{"type":"static"}}"#,
            Some("static"),
        ),
        (
            r#"{"type":"a","IPAM":{"type":"dhcp"},"ipam":{"subnet":"x"}}"#,
            Some("dhcp"),
        ),
    ] {
        let keys = serde_json::from_str(plugin).expect("JSON");
        let kind = parse(&single(&keys)).plugins[0].ipam_type();
        assert_eq!(kind.as_deref(), expected, "{plugin}");
    }
}
