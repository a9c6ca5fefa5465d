use plexus_api::cni::{Defaults, NetworkConfig, Version};

use super::meta_plugin_type;

fn found(config: &str) -> Option<String> {
    let defaults = Defaults {
        name: Some("n"),
        version: Version::V1_0_0,
    };
    meta_plugin_type(&NetworkConfig::parse(config, defaults).expect(config))
}

#[test]
fn meta_plugins_are_found_at_any_depth() {
    let deep = format!(
        r#"{{"type":"x","a":{}{{"type":"multus"}}{}}}"#,
        "[".repeat(90),
        "]".repeat(90)
    );
    for (config, kind) in [
        (r#"{"type":"plexus"}"#, "plexus"),
        (r#"{"type":"multus"}"#, "multus"),
        (r#"{"type":"multus-shim"}"#, "multus-shim"),
        (
            r#"{"plugins":[{"type":"bridge"},{"type":"plexus"}]}"#,
            "plexus",
        ),
        (r#"{"type":"x","delegate":{"type":"multus"}}"#, "multus"),
        (
            r#"{"type":"x","delegates":[{"type":"y"},{"type" : "multus-shim" }]}"#,
            "multus-shim",
        ),
        (
            r#"{"type":"x","ipam":{"type":"host-local","then":{"type":"plexus"}}}"#,
            "plexus",
        ),
        (r#"{"type":"x","delegate":{"TYPE":"multus"}}"#, "multus"),
        (
            r#"{"type":"x","delegate":{"type":"multus","type":"bridge"}}"#,
            "multus",
        ),
        (
            r#"{"type":"x","delegate":{"type":"bridge","type":"multus"}}"#,
            "multus",
        ),
        (
            r#"{"type":"x","delegate":{"ty\u0070e":"mul\u0074us"}}"#,
            "multus",
        ),
        (
            r#"{"type":"x","delegate":{"mtu":1e400,"type":"multus"}}"#,
            "multus",
        ),
        (r#"{"type":"x","a":"\"","b":{"type":"multus"}}"#, "multus"),
        (r#"{"type":"x","a":"\\","b":{"type":"multus"}}"#, "multus"),
        (&deep, "multus"),
    ] {
        assert_eq!(found(config).as_deref(), Some(kind), "{config}");
    }
}

#[test]
fn other_plugins_are_not_meta_plugins() {
    for config in [
        r#"{"type":"bridge"}"#,
        r#"{"type":"plexus-like"}"#,
        r#"{"type":"x","name":"multus","note":"plexus"}"#,
        r#"{"type":"x","list":["type","multus"]}"#,
        r#"{"type":"x","a":"type","multus":"b"}"#,
        r#"{"type":"x","type2":"multus","a":{"type":5,"b":"multus"}}"#,
        r#"{"type":"x","a":{"type":["multus"]}}"#,
        r#"{"type":"x","text":"{\"type\":\"multus\"}"}"#,
        r#"{"type":"x","a":["\\\\","type:",":","multus"]}"#,
    ] {
        assert_eq!(found(config), None, "{config}");
    }
}
