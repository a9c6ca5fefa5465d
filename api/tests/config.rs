//! Network configurations: what is read, what is refused, and what passes to the letter.

use plexus_api::cni::{
    CniError, ConfigError, Defaults, NetworkConfig, Version, validate_network_name, validate_plugin_type,
};
use plexus_api::json::{MAX_CONFIG, MAX_DEPTH};
use plexus_api::rows;
use proptest::prelude::*;
use serde_json::{Value, json};

const DEFAULTS: Defaults<'static> = Defaults { name: None, version: Version::V0_1_0 };

fn parse(value: &Value) -> NetworkConfig {
    NetworkConfig::parse(&value.to_string(), DEFAULTS).unwrap_or_else(|error| panic!("{value}: {error}"))
}

fn refused(value: &Value) -> CniError {
    match NetworkConfig::parse(&value.to_string(), DEFAULTS) {
        Ok(network) => panic!("{value} was read as {network:?}"),
        Err(error) => error.into(),
    }
}

/// A network of one plugin, with `keys` beside.
fn single(keys: &Value) -> Value {
    with(json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge"}), keys)
}

/// A list of one plugin, with `keys` beside.
fn list(keys: &Value) -> Value {
    with(json!({"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"}]}), keys)
}

/// `base` with `keys` set; null removes.
fn with(mut base: Value, keys: &Value) -> Value {
    let map = base.as_object_mut().expect("an object");
    for (key, value) in keys.as_object().expect("an object") {
        if value.is_null() {
            map.remove(key);
        } else {
            map.insert(key.clone(), value.clone());
        }
    }
    base
}

fn kinds(network: &NetworkConfig) -> Vec<String> {
    network.plugins.iter().map(plexus_api::cni::PluginConfig::kind).collect()
}

#[test]
fn a_list_is_read_whole() {
    rows!("R-001");
    let network = parse(&json!({
        "cniVersion": "0.4.0", "cniVersions": ["0.3.1", "1.0.0"], "name": "net", "disableCheck": true, "disableGC": true,
        "loadOnlyInlinedPlugins": true, "plugins": [{"type": "bridge"}, {"type": "tuning", "sysctl": {"a": "b"}}],
    }));
    assert_eq!(network.name, "net");
    assert_eq!(network.cni_version, Version::V1_0_0);
    assert!(network.disable_check && network.disable_gc && network.load_only_inlined_plugins);
    assert_eq!(kinds(&network), ["bridge", "tuning"]);
    let bare = parse(&list(&json!({})));
    assert!(!bare.disable_check && !bare.disable_gc && !bare.load_only_inlined_plugins);
    for keys in [json!({"disableCheck": true}), json!({"disableGC": true}), json!({"loadOnlyInlinedPlugins": true})] {
        let one = parse(&list(&keys));
        let flags = json!({"disableCheck": one.disable_check, "disableGC": one.disable_gc, "loadOnlyInlinedPlugins": one.load_only_inlined_plugins});
        let expected = with(json!({"disableCheck": false, "disableGC": false, "loadOnlyInlinedPlugins": false}), &keys);
        assert_eq!(flags, expected);
    }
}

#[test]
fn a_wrong_type_is_an_error_that_names_the_key() {
    rows!("R-001", "R-007");
    for (key, value) in [
        ("name", json!(5)),
        ("cniVersion", json!(1.0)),
        ("cniVersions", json!("1.0.0")),
        ("cniVersions", json!([1])),
        ("plugins", json!({})),
        ("plugins", json!("bridge")),
        ("plugins", json!([5])),
        ("disableCheck", json!(1)),
        ("disableCheck", json!("yes")),
        ("disableGC", json!([])),
        ("loadOnlyInlinedPlugins", json!({})),
    ] {
        let error = refused(&list(&json!({key: value})));
        assert_eq!(error.code, 7, "{error}");
        assert!(error.msg.contains(&format!("{key:?}")) && error.msg.contains("must be"), "{error}");
    }
}

#[test]
fn what_is_no_object_cannot_be_decoded() {
    for text in ["{", "", "[]", "null", "5", "\"x\"", "{} x", r#"{"name":"a","type":"b"} {}"#] {
        let error = CniError::from(NetworkConfig::parse(text, DEFAULTS).expect_err(text));
        assert_eq!(error.code, 6, "{text}: {error}");
    }
}

#[test]
fn size_and_depth_are_limited() {
    let text = |levels: usize| format!(r#"{{"name":"n","type":"t","x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert!(NetworkConfig::parse(&text(MAX_DEPTH - 1), DEFAULTS).is_ok());
    let error = NetworkConfig::parse(&text(MAX_DEPTH), DEFAULTS).expect_err("too deep");
    assert!(matches!(&error, ConfigError::Json(why) if why.contains("nested")), "{error}");
    let start = r#"{"name":"n","type":"t","x":""#;
    let text = |len: usize| format!(r#"{start}{}"}}"#, "a".repeat(len - start.len() - 2));
    assert_eq!(text(MAX_CONFIG).len(), MAX_CONFIG);
    assert!(NetworkConfig::parse(&text(MAX_CONFIG), DEFAULTS).is_ok());
    let error = NetworkConfig::parse(&text(MAX_CONFIG + 1), DEFAULTS).expect_err("too long");
    assert!(matches!(&error, ConfigError::Json(why) if why.contains("bytes")), "{error}");
}

#[test]
fn names() {
    rows!("P-032", "R-002");
    let long = "n".repeat(230);
    for name in ["a.b_c-1", "0", "Net", &long] {
        assert_eq!(validate_network_name(name), Ok(()));
        assert_eq!(parse(&list(&json!({"name": name}))).name, name);
        assert_eq!(parse(&single(&json!({"name": name}))).name, name);
    }
    for name in
        [json!(""), json!("-x"), json!("a/b"), json!("../x"), json!("a b"), json!("ä"), json!("a\n"), Value::Null]
    {
        for given in [list(&json!({"name": name})), single(&json!({"name": name}))] {
            let error = refused(&given);
            assert_eq!(error.code, 7);
            let shown = name.as_str().unwrap_or_default();
            assert!(error.msg.contains(&format!("network name {shown:?}")), "{error}");
        }
    }
}

#[test]
fn a_missing_name_is_the_default_one() {
    let defaults = Defaults { name: Some("nad"), version: Version::V1_0_0 };
    for text in [r#"{"type":"x"}"#, r#"{"name":"","type":"x"}"#, r#"{"name":null,"type":"x"}"#] {
        assert_eq!(NetworkConfig::parse(text, defaults).expect(text).name, "nad");
    }
    assert_eq!(NetworkConfig::parse(r#"{"name":"own","type":"x"}"#, defaults).expect("valid").name, "own");
    let wrong = Defaults { name: Some("a/b"), version: Version::V1_0_0 };
    assert!(matches!(NetworkConfig::parse(r#"{"type":"x"}"#, wrong), Err(ConfigError::Name(_))));
}

#[test]
fn keys_that_a_runtime_injects_are_known() {
    rows!("P-033");
    let network = parse(&single(&json!({
        "runtimeConfig": {"io.kubernetes.cri.pod-annotations": {"a": "b"}},
        "prevResult": {"cniVersion": "1.0.0"},
        "args": {"cni": {}},
        "capabilities": {"mac": true},
        "cni.dev/valid-attachments": [],
        "cni.dev/attachments": [],
    })));
    assert_eq!(network.plugins[0].raw("prevResult").expect("kept").get(), r#"{"cniVersion":"1.0.0"}"#);
    assert!(network.declares("mac"));
}

#[test]
fn the_highest_supported_version_is_selected() {
    rows!("R-003", "R-004", "P-064");
    for (version, versions, selected) in [
        (json!("0.4.0"), json!(["0.3.1", "1.0.0"]), Version::V1_0_0),
        (json!("1.0.0"), json!(["0.3.1", "9.9.9"]), Version::V1_0_0),
        (Value::Null, json!(["1.1.0", "0.4.0"]), Version::V1_1_0),
        (json!("0.4.0"), json!([]), Version::V0_4_0),
        (json!("0.4.0"), Value::Null, Version::V0_4_0),
        // Not in lexical order, and ours is not in the list.
        (json!("1.0.0"), json!(["0.10.0", "10.0.0", "1.2.0", "1.0.10"]), Version::V1_0_0),
        (json!("2.0.0"), json!(["0.4.0"]), Version::V0_4_0),
        (json!(""), json!([]), Version::V0_1_0),
        (Value::Null, Value::Null, Version::V0_1_0),
    ] {
        for base in [list(&json!({})), single(&json!({}))] {
            let given = with(base, &json!({"cniVersion": version, "cniVersions": versions}));
            assert_eq!(parse(&given).cni_version, selected, "{given}");
        }
    }
    let text = r#"{"cniVersion":null,"cniVersions":null,"name":"n","type":"t"}"#;
    let defaults = Defaults { name: None, version: Version::V0_3_1 };
    assert_eq!(NetworkConfig::parse(text, defaults).expect("valid").cni_version, Version::V0_3_1);
}

#[test]
fn what_is_no_version_is_an_error_in_the_list() {
    rows!("R-004");
    for wrong in ["x", "", "1.0", "v1.0.0", "1.0.0.0", "1..0", "1.0.x", "1.0.0-rc1"] {
        let error = refused(&list(&json!({"cniVersions": ["0.4.0", wrong]})));
        assert_eq!(error.code, 7);
        assert!(error.msg.contains("cniVersions") && error.msg.contains(&format!("{wrong:?}")), "{error}");
    }
}

#[test]
fn only_unsupported_versions_are_an_error_with_both_sides() {
    rows!("R-005", "P-063");
    for version in ["1.2.0", "2.0.0", "1.0", "v1.0.0", "0.5.0"] {
        let error = refused(&list(&json!({"cniVersion": version})));
        assert_eq!(error.code, 1);
        assert!(error.msg.contains(version) && error.details.contains(version), "{error}");
        assert!(error.details.contains("0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"), "{error}");
        let error = Version::from_key(Some(version)).expect_err(version);
        assert_eq!(error.code, 1);
        assert!(error.msg.contains(version) && error.details.contains("1.1.0"), "{error}");
    }
    let error = refused(&list(&json!({"cniVersion": "2.0.0", "cniVersions": ["3.0.0"]})));
    assert!(error.msg.contains("2.0.0, 3.0.0"), "{error}");
}

#[test]
fn a_version_key() {
    rows!("P-063", "P-064");
    for version in Version::ALL {
        assert_eq!(Version::from_key(Some(version.as_str())), Ok(version));
        assert_eq!(version.to_string(), version.as_str());
        assert_eq!(serde_json::to_value(version).expect("a string"), version.as_str());
        assert_eq!(Version::exact(version.as_str()), Some(version));
    }
    assert_eq!(Version::from_key(None), Ok(Version::V0_1_0));
    assert_eq!(Version::from_key(Some("")), Ok(Version::V0_1_0));
    assert_eq!(Version::exact(""), None);
    assert!(Version::ALL.is_sorted());
    assert_eq!(Version::LATEST, Version::V1_1_0);
}

#[test]
fn booleans_may_be_strings() {
    rows!("R-007");
    for (value, expected) in [
        (json!(true), true),
        (json!("True"), true),
        (json!("TRUE"), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("FALSE"), false),
        (json!("false"), false),
    ] {
        assert_eq!(parse(&list(&json!({"disableCheck": value}))).disable_check, expected, "{value}");
    }
    let null = r#"{"name":"n","type":"t","disableCheck":null}"#;
    assert!(!NetworkConfig::parse(null, DEFAULTS).expect("valid").disable_check);
}

#[test]
fn plugins_of_a_list() {
    rows!("R-008");
    let error = refused(&json!({"cniVersion": "1.0.0", "name": "net", "loadOnlyInlinedPlugins": true}));
    assert!(
        error.code == 7 && error.msg.contains("\"plugins\"") && error.msg.contains("loadOnlyInlinedPlugins"),
        "{error}"
    );
    let error = refused(&json!({"cniVersion": "1.0.0", "name": "net", "plugins": []}));
    assert!(error.code == 7 && error.msg.contains("\"plugins\" is an empty list"), "{error}");
    let later = parse(&json!({"cniVersion": "1.0.0", "name": "net"}));
    assert!(later.plugins.is_empty() && !later.load_only_inlined_plugins);
    let error = later.require_plugin().expect_err("none yet");
    assert_eq!(error, ConfigError::NoPlugin("net".into()));
    assert_eq!(kinds(&parse(&list(&json!({}))).require_plugin().expect("one")), ["bridge"]);
}

#[test]
fn every_plugin_has_a_type() {
    rows!("R-013");
    let error = refused(&json!({"name": "n", "type": 5}));
    assert!(error.msg.contains("key \"type\" must be a string"), "{error}");
    for (plugin, why) in [
        (json!({}), "is missing"),
        (json!({"type": ""}), "is wrong"),
        (json!({"type": 5}), "must be a string"),
        (json!({"type": null}), "must be a string"),
    ] {
        let error = refused(&list(&json!({"plugins": [{"type": "ok"}, plugin]})));
        assert_eq!(error.code, 7);
        assert!(error.msg.contains("\"plugins[1].type\"") && error.msg.contains(why), "{error}");
    }
}

#[test]
fn a_plugin_type_names_a_file_and_leads_nowhere_else() {
    rows!("R-041");
    for kind in ["../../bin/sh", "/bin/sh", "a/b", "a\\b", "..", ".", "", "a\0", "/"] {
        let error = validate_plugin_type(kind).expect_err(kind);
        assert_eq!(error.code, 7);
        assert!(error.msg.contains(&format!("{kind:?}")), "{error}");
        let error = refused(&single(&json!({"type": kind})));
        assert_eq!(error.code, 7, "{error}");
    }
    for kind in ["bridge", "host-device", "...", "a.b", "sriov_v2"] {
        assert_eq!(validate_plugin_type(kind), Ok(()));
        assert_eq!(kinds(&parse(&single(&json!({"type": kind})))), [kind]);
    }
}

#[test]
fn a_single_plugin_is_a_list_of_one() {
    rows!("R-014");
    let network = parse(&single(
        &json!({"x": 1, "disableCheck": true, "disableGC": true, "cniVersions": ["1.1.0"], "loadOnlyInlinedPlugins": false}),
    ));
    assert_eq!((network.name.as_str(), network.cni_version), ("net", Version::V1_1_0));
    assert!(network.disable_check && network.disable_gc && network.load_only_inlined_plugins);
    let keys: Vec<_> = network.plugins[0].as_map().keys().map(String::as_str).collect();
    // The keys of a list are not the plugin's; its own are.
    assert_eq!(keys, ["cniVersion", "name", "type", "x"]);
    assert_eq!(network.plugins.len(), 1);
    // Where there is a list, it counts.
    assert_eq!(kinds(&parse(&list(&json!({"type": "other"})))), ["bridge"]);
}

#[test]
fn other_keys_pass_to_the_letter() {
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
    let keys: Vec<_> = values.iter().map(|(key, value)| format!("{key:?}: {value} ")).collect();
    let plugin = format!(r#"{{"type":"x", {}}}"#, keys.join(","));
    for text in [format!(r#"{{"name":"n","plugins":[{plugin}]}}"#), plugin.replacen('{', r#"{"name":"n","#, 1)] {
        let network = NetworkConfig::parse(&text, DEFAULTS).expect("valid");
        for (key, value) in values {
            assert_eq!(network.plugins[0].raw(key).expect(key).get(), value);
        }
        // Also by way of a record.
        let record = serde_json::to_string(&network).expect("JSON");
        let again: NetworkConfig = serde_json::from_str(&record).expect("the same");
        for (key, value) in values {
            assert_eq!(again.plugins[0].raw(key).expect(key).get(), value);
        }
        assert!(record.contains(r#""huge":1e400"#), "{record}");
    }
}

#[test]
fn a_record_is_read_again() {
    let network = parse(
        &json!({"cniVersion": "0.4.0", "name": "n", "disableCheck": true, "disableGC": true, "plugins": [{"type": "a"}, {"type": "b"}]}),
    );
    let record = serde_json::to_value(&network).expect("JSON");
    let expected = json!({"name": "n", "cniVersion": "0.4.0", "disableCheck": true, "disableGC": true, "plugins": [{"type": "a"}, {"type": "b"}]});
    assert_eq!(record, expected);
    let again: NetworkConfig = serde_json::from_value(record).expect("the same");
    assert_eq!(
        (again.name.as_str(), again.cni_version, again.disable_check, kinds(&again)),
        ("n", Version::V0_4_0, true, kinds(&network))
    );
    let lean: NetworkConfig =
        serde_json::from_str(r#"{"name":"n","cniVersion":"1.0.0","plugins":[{}]}"#).expect("valid");
    assert!(!lean.disable_check && !lean.disable_gc);
    // A record that somebody has edited does not panic.
    assert_eq!(kinds(&lean), [""]);
}

#[test]
fn keys_of_a_plugin_are_read_and_set() {
    let mut network = parse(&single(&json!({"mtu": 1500, "ipam": {"type": "static"}})));
    let plugin = &mut network.plugins[0];
    assert_eq!(plugin.get::<u32>("mtu"), Some(1500));
    assert_eq!(plugin.get::<String>("mtu"), None);
    assert_eq!(plugin.get::<u32>("absent"), None);
    plugin.set("mtu", &9000).expect("a number");
    plugin.set("runtimeConfig", &json!({"mac": "x"})).expect("an object");
    plugin.remove("ipam");
    assert_eq!(plugin.get::<u32>("mtu"), Some(9000));
    assert!(plugin.raw("ipam").is_none());
    assert_eq!(
        serde_json::to_value(&*plugin).expect("JSON"),
        single(&json!({"mtu": 9000, "runtimeConfig": {"mac": "x"}}))
    );
    let wrong = plugin.set("x", &std::collections::BTreeMap::from([((1, 2), 3)])).expect_err("no JSON key");
    assert!(wrong.to_string().contains("\"x\" cannot be written"), "{wrong}");
    assert!(plugin.raw("x").is_none());
}

#[test]
fn a_capability_is_declared_by_true_only() {
    let network = parse(&list(&json!({"plugins": [
        {"type": "a", "capabilities": {"mac": true, "ips": false, "bandwidth": "true", "portMappings": 1}},
        {"type": "b", "capabilities": {"dns": true}},
        {"type": "c", "capabilities": null},
        {"type": "d", "capabilities": [true]},
        {"type": "e"},
    ]})));
    let declared: Vec<Vec<String>> =
        network.plugins.iter().map(|plugin| plugin.capabilities().into_iter().collect()).collect();
    assert_eq!(declared, [vec!["mac"], vec!["dns"], vec![], vec![], vec![]]);
    for (capability, expected) in [("mac", true), ("dns", true), ("ips", false), ("bandwidth", false), ("x", false)] {
        assert_eq!(network.declares(capability), expected, "{capability}");
    }
}

/// JSON of any form, with the keys of configurations among it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![Just("1.0.0"), Just("true"), Just("bridge"), Just("net"), Just("a/b"), Just("")]
            .prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("cniVersion"),
        Just("cniVersions"),
        Just("name"),
        Just("type"),
        Just("plugins"),
        Just("disableCheck"),
        Just("disableGC"),
        Just("loadOnlyInlinedPlugins"),
        Just("capabilities"),
    ];
    leaf.prop_recursive(4, 30, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Value>()),
        ]
    })
}

/// Whatever is accepted has a name and types that can be trusted.
fn assert_sound(network: &NetworkConfig) {
    assert_eq!(validate_network_name(&network.name), Ok(()));
    for plugin in &network.plugins {
        assert_eq!(validate_plugin_type(&plugin.kind()), Ok(()));
        let _ = plugin.capabilities();
    }
}

proptest! {
    #[test]
    fn text_never_panics(text in ".{0,40}") {
        let _ = NetworkConfig::parse(&text, DEFAULTS);
    }

    #[test]
    fn any_json_never_panics(value in any_json(), keys in any_json()) {
        rows!("R-002", "R-041");
        let mut given = vec![value];
        if keys.is_object() {
            given.extend([with(single(&json!({})), &keys), with(list(&json!({})), &keys)]);
        }
        for value in given {
            if let Ok(network) = NetworkConfig::parse(&value.to_string(), DEFAULTS) {
                assert_sound(&network);
            }
        }
    }
}

#[test]
fn keys_may_be_written_in_another_case() {
    let text = r#"{"CniVersion":"0.3.1","NAME":"net","Type":"a","Capabilities":{"mac":true},"MTU":1}"#;
    let network = NetworkConfig::parse(text, Defaults { name: None, version: Version::V1_0_0 }).expect("usable");
    assert_eq!((network.name.as_str(), network.cni_version), ("net", Version::V0_3_1));
    let plugin = &network.plugins[0];
    assert_eq!((plugin.kind().as_str(), plugin.capabilities().len()), ("a", 1));
    assert!(plugin.as_map().contains_key("MTU"), "keys of the plugin stay as they are");
    // The exact one is preferred.
    let text = r#"{"name":"net","TYPE":"b","type":"a"}"#;
    let network = NetworkConfig::parse(text, Defaults { name: None, version: Version::V1_0_0 }).expect("usable");
    assert_eq!(network.plugins[0].kind(), "a");
}
