//! Lists, single plugins, and text that is neither.

use plexus_api::cni::{CniError, ConfigError, MAX_PLUGINS, NetworkConfig, Version};
use plexus_api::json::{MAX_CONFIG, MAX_DEPTH};
use plexus_api::rows;
use serde_json::json;

use crate::{DEFAULTS, kinds, list, parse, refused, single, with};

#[test]
fn all_keys_of_a_list_are_read() {
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
    for keys in [
        json!({"disableCheck": true}),
        json!({"disableGC": true}),
        json!({"loadOnlyInlinedPlugins": true}),
    ] {
        let one = parse(&list(&keys));
        let flags = json!({"disableCheck": one.disable_check, "disableGC": one.disable_gc, "loadOnlyInlinedPlugins": one.load_only_inlined_plugins});
        let expected = with(
            json!({"disableCheck": false, "disableGC": false, "loadOnlyInlinedPlugins": false}),
            &keys,
        );
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
        assert!(
            error.msg.contains(&format!("{key:?}")) && error.msg.contains("must be"),
            "{error}"
        );
    }
}

#[test]
fn only_an_object_can_be_decoded() {
    for text in [
        "{",
        "",
        "[]",
        "null",
        "5",
        "\"x\"",
        "{} x",
        r#"{"name":"a","type":"b"} {}"#,
    ] {
        let error = CniError::from(NetworkConfig::parse(text, DEFAULTS).expect_err(text));
        assert_eq!(error.code, 6, "{text}: {error}");
    }
}

#[test]
fn size_and_depth_are_limited() {
    let text = |levels: usize| {
        format!(
            r#"{{"name":"n","type":"t","x":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert!(NetworkConfig::parse(&text(MAX_DEPTH - 1), DEFAULTS).is_ok());
    let error = NetworkConfig::parse(&text(MAX_DEPTH), DEFAULTS).expect_err("too deep");
    assert!(
        matches!(&error, ConfigError::Limit(why) if why.to_string().contains("nested")),
        "{error}"
    );
    let start = r#"{"name":"n","type":"t","x":""#;
    let text = |len: usize| format!(r#"{start}{}"}}"#, "a".repeat(len - start.len() - 2));
    assert_eq!(text(MAX_CONFIG).len(), MAX_CONFIG);
    assert!(NetworkConfig::parse(&text(MAX_CONFIG), DEFAULTS).is_ok());
    let error = NetworkConfig::parse(&text(MAX_CONFIG + 1), DEFAULTS).expect_err("too long");
    assert!(
        matches!(&error, ConfigError::Limit(why) if why.to_string().contains("bytes")),
        "{error}"
    );
}

#[test]
fn the_numbers_of_plugins_keys_versions_and_capabilities_are_limited() {
    let keys = |count: usize| -> String {
        let keys: Vec<_> = (0..count).map(|n| format!(r#""k{n}":true"#)).collect();
        keys.join(",")
    };
    let plugins = |count: usize| {
        let plugins = vec![r#"{"type":"t"}"#; count].join(",");
        format!(r#"{{"name":"n","plugins":[{plugins}]}}"#)
    };
    let versions = |count: usize| {
        let versions = vec![r#""1.0.0""#; count].join(",");
        format!(r#"{{"name":"n","cniVersions":[{versions}],"type":"t"}}"#)
    };
    let single = |count: usize| format!(r#"{{"name":"n","type":"t",{}}}"#, keys(count - 2));
    let plugin = |count: usize| {
        format!(
            r#"{{"name":"n","plugins":[{{"type":"t",{}}}]}}"#,
            keys(count - 1)
        )
    };
    let capabilities = |count: usize| {
        format!(
            r#"{{"name":"n","type":"t","capabilities":{{{}}}}}"#,
            keys(count)
        )
    };
    for (text, most, what) in [
        (
            &plugins as &dyn Fn(usize) -> String,
            MAX_PLUGINS,
            "\"plugins\" has 33 entries",
        ),
        (&versions, 64, "\"cniVersions\" has 65 entries"),
        (&single, 256, "has 257 keys"),
        (&plugin, 256, "\"plugins[0]\" has 257 entries"),
        (&capabilities, 64, "\"capabilities\" has 65 entries"),
    ] {
        assert!(
            NetworkConfig::parse(&text(most), DEFAULTS).is_ok(),
            "{what}"
        );
        let error = NetworkConfig::parse(&text(most + 1), DEFAULTS).expect_err(what);
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(CniError::from(error).code, 7, "{what}");
    }
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
        assert_eq!(
            parse(&list(&json!({"disableCheck": value}))).disable_check,
            expected,
            "{value}"
        );
    }
    let null = r#"{"name":"n","type":"t","disableCheck":null}"#;
    assert!(
        !NetworkConfig::parse(null, DEFAULTS)
            .expect("valid")
            .disable_check
    );
}

#[test]
fn plugins_may_be_missing_but_not_empty() {
    rows!("R-008");
    let error =
        refused(&json!({"cniVersion": "1.0.0", "name": "net", "loadOnlyInlinedPlugins": true}));
    assert!(
        error.code == 7
            && error.msg.contains("\"plugins\"")
            && error.msg.contains("loadOnlyInlinedPlugins"),
        "{error}"
    );
    let error = refused(&json!({"cniVersion": "1.0.0", "name": "net", "plugins": []}));
    assert!(
        error.code == 7 && error.msg.contains("\"plugins\" is an empty list"),
        "{error}"
    );
    let later = parse(&json!({"cniVersion": "1.0.0", "name": "net"}));
    assert!(later.plugins.is_empty() && !later.load_only_inlined_plugins);
    let error = later.require_plugin().expect_err("no plugin");
    assert_eq!(error, ConfigError::NoPlugin("net".into()));
    assert_eq!(
        kinds(&parse(&list(&json!({}))).require_plugin().expect("one")),
        ["bridge"]
    );
}

#[test]
fn a_single_plugin_is_a_list_of_one() {
    let network = parse(&single(
        &json!({"x": 1, "disableCheck": true, "disableGC": true, "cniVersions": ["1.1.0"], "loadOnlyInlinedPlugins": false}),
    ));
    assert_eq!(
        (network.name.as_str(), network.cni_version),
        ("net", Version::V1_1_0)
    );
    assert!(network.disable_check && network.disable_gc && network.load_only_inlined_plugins);
    let keys: Vec<_> = network.plugins[0]
        .as_map()
        .keys()
        .map(String::as_str)
        .collect();
    // The keys of a list are removed from the plugin.
    assert_eq!(keys, ["cniVersion", "name", "type", "x"]);
    assert_eq!(network.plugins.len(), 1);
    // A list takes precedence over `type`.
    assert_eq!(kinds(&parse(&list(&json!({"type": "other"})))), ["bridge"]);
}
