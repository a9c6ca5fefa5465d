//! Random configurations.

use plexus_api::cni::{NetworkConfig, validate_network_name, validate_plugin_type};
use plexus_api::rows;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{DEFAULTS, list, single, with};

/// Any JSON, with keys and values of configurations.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just("1.0.0"),
            Just("true"),
            Just("bridge"),
            Just("net"),
            Just("a/b"),
            Just("")
        ]
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
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| map
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Value>()),
        ]
    })
}

/// Accepted configurations have valid names and types.
fn assert_valid(network: &NetworkConfig) {
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
                assert_valid(&network);
            }
        }
    }
}
