//! Names of networks and types of plugins.

use plexus_api::cni::{
    CniError, ConfigError, Defaults, NetworkConfig, Version, validate_network_name,
    validate_plugin_type,
};
use plexus_api::rows;
use serde_json::{Value, json};

use crate::{kinds, list, parse, refused, single};

#[test]
fn network_names_are_validated() {
    rows!("P-032", "R-002");
    let long = "n".repeat(230);
    for name in ["a.b_c-1", "0", "Net", &long] {
        assert_eq!(validate_network_name(name), Ok(()));
        assert_eq!(parse(&list(&json!({"name": name}))).name, name);
        assert_eq!(parse(&single(&json!({"name": name}))).name, name);
    }
    for name in [
        json!(""),
        json!("-x"),
        json!("a/b"),
        json!("../x"),
        json!("a b"),
        json!("ä"),
        json!("a\n"),
        Value::Null,
    ] {
        for given in [list(&json!({"name": name})), single(&json!({"name": name}))] {
            let error = refused(&given);
            assert_eq!(error.code, 7);
            let shown = name.as_str().unwrap_or_default();
            assert!(
                error.msg.contains(&format!("network name {shown:?}")),
                "{error}"
            );
        }
    }
}

#[test]
fn a_missing_name_gets_the_default() {
    let defaults = Defaults {
        name: Some("nad"),
        version: Version::V1_0_0,
    };
    for text in [
        r#"{"type":"x"}"#,
        r#"{"name":"","type":"x"}"#,
        r#"{"name":null,"type":"x"}"#,
    ] {
        assert_eq!(
            NetworkConfig::parse(text, defaults).expect(text).name,
            "nad"
        );
    }
    assert_eq!(
        NetworkConfig::parse(r#"{"name":"own","type":"x"}"#, defaults)
            .expect("valid")
            .name,
        "own"
    );
    let wrong = Defaults {
        name: Some("a/b"),
        version: Version::V1_0_0,
    };
    assert!(matches!(
        NetworkConfig::parse(r#"{"type":"x"}"#, wrong),
        Err(ConfigError::Name(_))
    ));
}

#[test]
fn every_plugin_needs_a_type() {
    rows!("R-013");
    let error = refused(&json!({"name": "n", "type": 5}));
    assert!(
        error.msg.contains("key \"type\" must be a string"),
        "{error}"
    );
    for (plugin, why) in [
        (json!({}), "is missing"),
        (json!({"type": ""}), "must be a file name"),
        (json!({"type": 5}), "must be a string"),
        (json!({"type": null}), "must be a string"),
    ] {
        let error = refused(&list(&json!({"plugins": [{"type": "ok"}, plugin]})));
        assert_eq!(error.code, 7);
        assert!(
            error.msg.contains("\"plugins[1].type\"") && error.msg.contains(why),
            "{error}"
        );
    }
}

#[test]
fn a_plugin_type_is_a_file_name_without_a_path() {
    rows!("R-041");
    for kind in [
        "../../bin/sh",
        "/bin/sh",
        "a/b",
        "a\\b",
        "..",
        ".",
        "",
        "a\0",
        "/",
    ] {
        let error = CniError::from(validate_plugin_type(kind).expect_err(kind));
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
