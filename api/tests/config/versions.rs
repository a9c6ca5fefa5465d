//! The version in which a network's plugins are called.

use plexus_api::cni::{CallConfig, CniError, Defaults, NetworkConfig, UnsupportedVersion, Version};
use plexus_api::rows;
use serde_json::{Value, json};

use crate::{DEFAULTS, list, parse, refused, single, with};

#[test]
fn the_highest_supported_version_is_selected() {
    rows!("R-003", "R-004", "P-064");
    for (version, versions, selected) in [
        (json!("0.4.0"), json!(["0.3.1", "1.0.0"]), Version::V1_0_0),
        (json!("1.0.0"), json!(["0.3.1", "9.9.9"]), Version::V1_0_0),
        (Value::Null, json!(["1.1.0", "0.4.0"]), Version::V1_1_0),
        (json!("0.4.0"), json!([]), Version::V0_4_0),
        (json!("0.4.0"), Value::Null, Version::V0_4_0),
        // Versions are not compared as text, and `cniVersion` need not be in the list.
        (
            json!("1.0.0"),
            json!(["0.10.0", "10.0.0", "1.2.0", "1.0.10"]),
            Version::V1_0_0,
        ),
        (json!("2.0.0"), json!(["0.4.0"]), Version::V0_4_0),
        (json!(""), json!([]), Version::V0_1_0),
        (Value::Null, Value::Null, Version::V0_1_0),
    ] {
        for base in [list(&json!({})), single(&json!({}))] {
            let given = with(
                base,
                &json!({"cniVersion": version, "cniVersions": versions}),
            );
            assert_eq!(parse(&given).cni_version, selected, "{given}");
        }
    }
    let text = r#"{"cniVersion":null,"cniVersions":null,"name":"n","type":"t"}"#;
    let defaults = Defaults {
        name: None,
        version: Version::V0_3_1,
    };
    assert_eq!(
        NetworkConfig::parse(text, defaults)
            .expect("valid")
            .cni_version,
        Version::V0_3_1
    );
}

#[test]
fn an_invalid_version_in_the_list_is_an_error() {
    rows!("R-004");
    for wrong in [
        "x",
        "",
        "1.0",
        "v1.0.0",
        "1.0.0.0",
        "1..0",
        "1.0.x",
        "1.0.0-rc1",
    ] {
        let error = refused(&list(&json!({"cniVersions": ["0.4.0", wrong]})));
        assert_eq!(error.code, 7);
        assert!(
            error.msg.contains("cniVersions") && error.msg.contains(&format!("{wrong:?}")),
            "{error}"
        );
    }
}

#[test]
fn without_a_supported_version_the_error_shows_both_sides() {
    rows!("R-005", "P-063");
    for version in ["1.2.0", "2.0.0", "1.0", "v1.0.0", "0.5.0"] {
        let error = refused(&list(&json!({"cniVersion": version})));
        assert_eq!(error.code, 1);
        assert!(
            error.msg.contains(version) && error.details.contains(version),
            "{error}"
        );
        assert!(
            error
                .details
                .contains("0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"),
            "{error}"
        );
        let error = CniError::from(version.parse::<Version>().expect_err(version));
        assert_eq!(error.code, 1);
        assert!(
            error.msg.contains(version) && error.details.contains("1.1.0"),
            "{error}"
        );
    }
    let error = refused(&list(
        &json!({"cniVersion": "2.0.0", "cniVersions": ["3.0.0"]}),
    ));
    assert!(error.msg.contains("2.0.0, 3.0.0"), "{error}");
}

fn call_version(version: &Value) -> Result<Version, CniError> {
    let config = json!({"cniVersion": version}).to_string();
    CallConfig::parse(config.as_bytes())?.version()
}

#[test]
fn cni_version_is_a_listed_version_or_missing() {
    rows!("P-063", "P-064");
    for version in Version::ALL {
        assert_eq!(call_version(&json!(version.as_str())), Ok(version));
        assert_eq!(version.to_string(), version.as_str());
        assert_eq!(
            serde_json::to_value(version).expect("a string"),
            version.as_str()
        );
        assert_eq!(version.as_str().parse(), Ok(version));
    }
    assert_eq!(call_version(&Value::Null), Ok(Version::V0_1_0));
    assert_eq!(call_version(&json!("")), Ok(Version::V0_1_0));
    assert_eq!(
        "".parse::<Version>(),
        Err(UnsupportedVersion(String::new()))
    );
    assert!(Version::ALL.is_sorted());
    assert_eq!(Version::LATEST, Version::V1_1_0);
}

#[test]
fn the_version_of_the_only_plugin_is_used_if_the_list_has_none() {
    rows!("R-003");
    let version = |text: &str| {
        NetworkConfig::parse(text, DEFAULTS)
            .map(|network| network.cni_version.as_str())
            .map_err(|error| CniError::from(error).code)
    };
    let default = DEFAULTS.version.as_str();
    for (text, expected) in [
        (
            r#"{"name":"n","plugins":[{"type":"a","cniVersion":"0.3.1"}]}"#,
            Ok("0.3.1"),
        ),
        (
            r#"{"name":"n","cniVersion":"","cniVersions":[],"plugins":[{"type":"a","CNIVersion":"0.3.1"}]}"#,
            Ok("0.3.1"),
        ),
        (
            r#"{"name":"n","cniVersion":"0.4.0","plugins":[{"type":"a","cniVersion":"0.3.1"}]}"#,
            Ok("0.4.0"),
        ),
        (
            r#"{"name":"n","cniVersions":["0.4.0"],"plugins":[{"type":"a","cniVersion":"0.3.1"}]}"#,
            Ok("0.4.0"),
        ),
        (
            r#"{"name":"n","plugins":[{"type":"a","cniVersion":""}]}"#,
            Ok(default),
        ),
        (
            r#"{"name":"n","plugins":[{"type":"a","cniVersion":"0.3.1"},{"type":"b"}]}"#,
            Ok(default),
        ),
        (
            r#"{"name":"n","plugins":[{"type":"a","cniVersion":"9.0.0"}]}"#,
            Err(1),
        ),
        (
            r#"{"name":"n","plugins":[{"type":"a","cniVersion":1.0}]}"#,
            Err(7),
        ),
    ] {
        assert_eq!(version(text), expected, "{text}");
    }
}
