//! The version of a result, and results without any key.

use plexus_api::cni::{CniResult, PluginResult, Version};
use plexus_api::rows;
use serde_json::{Value, json};

use crate::{error, raw, refused};

#[test]
fn a_result_without_a_version_has_the_version_of_the_configuration() {
    rows!("T-003");
    for text in [
        r#"{"ips":[{"address":"10.0.0.1/24"}]}"#,
        r#"{"cniVersion":"","ips":[{"address":"10.0.0.1/24"}]}"#,
        r#"{"cniVersion":null,"ips":[{"address":"10.0.0.1/24"}]}"#,
    ] {
        for version in [Version::V0_4_0, Version::V1_0_0, Version::V1_1_0] {
            let result = PluginResult::parse(text.as_bytes(), version).expect(text);
            assert_eq!(result.version(), version);
            assert_eq!(result.result().ips.len(), 1);
            assert_eq!(
                raw(&result),
                json!({"cniVersion": version.as_str(), "ips": [{"address": "10.0.0.1/24"}]})
            );
        }
    }
    // The version decides the format, too.
    let old = PluginResult::parse(br#"{"ip4":{"ip":"10.0.0.1/24"}}"#, Version::V0_2_0).unwrap();
    assert_eq!(old.result().ips[0].address.to_string(), "10.0.0.1/24");
    // The plugin's own version takes precedence.
    let stated = PluginResult::parse(br#"{"cniVersion":"0.3.1"}"#, Version::V1_0_0).unwrap();
    assert_eq!(stated.version(), Version::V0_3_1);
}

#[test]
fn an_error_names_an_unsupported_version() {
    for text in [
        r#"{"cniVersion":"9.9.9"}"#,
        r#"{"cniVersion":"1.0"}"#,
        r#"{"cniVersion":"v1.0.0"}"#,
    ] {
        let error = error(text.as_bytes());
        assert_eq!(error.code, 1);
        let version: Value = serde_json::from_str(text).unwrap();
        assert!(
            error.msg.contains(version["cniVersion"].as_str().unwrap()),
            "{error}"
        );
        assert!(
            error
                .details
                .contains("0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"),
            "{error}"
        );
    }
    assert!(refused(r#"{"cniVersion":1}"#).contains("string"));
}

#[test]
fn an_empty_object_and_null_are_empty_results() {
    rows!("T-004");
    for text in ["{}", "null", " null\n", "{ }"] {
        for version in Version::ALL {
            let result = PluginResult::parse(text.as_bytes(), version).expect(text);
            assert_eq!(result.result(), &CniResult::default());
            assert_eq!(raw(&result), json!({"cniVersion": version.as_str()}));
        }
    }
}

#[test]
fn empty_output_is_an_error() {
    rows!("T-005");
    for text in ["", " ", "\n\t\r\n"] {
        assert!(refused(text).contains("no result on stdout"), "{text:?}");
    }
}
