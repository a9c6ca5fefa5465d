//! The error object: its document, its codes, and its message of one line.

use std::collections::BTreeSet;

use plexus_api::cni::{
    CniArgs, CniError, Code, ConfigError, Defaults, NameError, NetworkConfig, PluginResult,
    UnsupportedVersion, Verb, Version, validate_container_id, validate_ifname,
    validate_pod_argument,
};
use plexus_api::json::{LimitError, Object};
use plexus_api::rows;
use serde_json::{Value, json};

fn document(error: &CniError, version: Version) -> Value {
    serde_json::from_str(&error.to_document(version)).expect("one JSON document")
}

#[test]
fn the_document_has_the_keys_of_the_specification() {
    rows!("P-038", "P-039");
    for code in Code::ALL {
        for version in Version::ALL {
            let error = CniError::new(code, "what happened");
            let mut expected = json!({"cniVersion": version.as_str(), "code": code as u32, "msg": "what happened"});
            assert_eq!(document(&error, version), expected);
            expected["details"] = json!("more\nabout it");
            assert_eq!(
                document(&error.with_details("more\nabout it"), version),
                expected
            );
        }
    }
    let quoted = CniError::new(Code::Internal, "\"a\" \\ \u{1} ä");
    assert_eq!(
        document(&quoted, Version::LATEST)["msg"],
        "\"a\" \\ \u{1} ä"
    );
}

#[test]
fn codes_below_100_are_those_of_the_specification() {
    rows!("P-040");
    let codes: Vec<u32> = Code::ALL.iter().map(|code| *code as u32).collect();
    let spec = codes
        .iter()
        .copied()
        .filter(|code| *code < 100)
        .collect::<Vec<_>>();
    assert_eq!(spec, [1, 2, 3, 4, 5, 6, 7, 11, 50, 51]);
    assert_eq!(
        codes.iter().collect::<BTreeSet<_>>().len(),
        Code::ALL.len(),
        "each code once"
    );
    for (code, number) in [
        (Code::IncompatibleVersion, 1),
        (Code::UnsupportedField, 2),
        (Code::UnknownContainer, 3),
        (Code::InvalidEnvironment, 4),
        (Code::Io, 5),
        (Code::Decode, 6),
        (Code::InvalidConfig, 7),
        (Code::TryAgain, 11),
        (Code::NotAvailable, 50),
        (Code::LimitedConnectivity, 51),
    ] {
        assert!(CniError::new(code, "x").is(code));
        assert!(!CniError::new(code, "x").is(Code::Internal));
        assert_eq!(CniError::new(code, "x").code, number);
    }
    for code in Code::ALL {
        assert_eq!(CniError::new(code, "x").code, code as u32);
    }
}

#[test]
fn the_message_is_one_line() {
    rows!("P-047");
    for (text, line) in [
        ("a\nb", "a b"),
        ("a\r\n  b\n\n", "a b"),
        ("a\rb", "a b"),
        ("\n a  b \n", "a  b"),
        (" as it is ", " as it is "),
    ] {
        assert_eq!(CniError::new(Code::Io, text).msg, line);
    }
    let error = CniError {
        code: 11,
        msg: "busy\ntry later".into(),
        details: "d".into(),
    };
    let expected = CniError {
        code: 11,
        msg: "net1, eth1: busy try later".into(),
        details: "d".into(),
    };
    assert_eq!(error.context("net1,\neth1"), expected);
}

#[test]
fn messages_contain_no_secrets_of_the_configuration() {
    rows!("P-047");
    let defaults = Defaults {
        name: None,
        version: Version::V1_0_0,
    };
    for text in [
        r#"{"cniVersion":"1.0.0","name":"a/b","type":"x","token":"s3cret"}"#,
        r#"{"cniVersion":"1.0.0","name":"n","type":"a/b","token":"s3cret"}"#,
        r#"{"cniVersion":"9.9.9","name":"n","type":"x","token":"s3cret"}"#,
        r#"{"name":"n","plugins":{"token":"s3cret"}}"#,
        r#"{"name":"n","plugins":[{"token":"s3cret"}]}"#,
        r#"{"name":"n","type":"x","token":"s3cret""#,
        r#"{"name":"n","disableCheck":"s3cret","type":"x"}"#,
    ] {
        let error = CniError::from(NetworkConfig::parse(text, defaults).expect_err(text));
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert!(
            !error.msg.contains('\n') && !error.msg.is_empty(),
            "{error}"
        );
    }
}

#[test]
fn a_plugins_error_is_read_unchanged() {
    let read = |text: &str| serde_json::from_str::<CniError>(text).expect(text);
    assert_eq!(
        read(r#"{"cniVersion":"1.0.0","code":11,"msg":"busy","details":"d"}"#),
        CniError {
            code: 11,
            msg: "busy".into(),
            details: "d".into()
        }
    );
    assert_eq!(
        read("{}"),
        CniError {
            code: 0,
            msg: String::new(),
            details: String::new()
        }
    );
    assert_eq!(
        serde_json::to_string(&read(r#"{"code":7,"msg":"m"}"#)).unwrap(),
        r#"{"code":7,"msg":"m"}"#
    );
}

#[test]
fn display_shows_code_and_details() {
    let error = CniError::new(Code::TryAgain, "busy");
    assert_eq!(error.to_string(), "busy (code 11)");
    assert_eq!(error.with_details("d").to_string(), "busy (code 11); d");
}

#[test]
fn each_configuration_error_has_its_code() {
    rows!("P-040");
    for (error, code) in [
        (UnsupportedVersion("9.9.9".into()).into(), 1),
        (LimitError::Depth.into(), 6),
        (Object::parse(b"x").expect_err("invalid JSON").into(), 6),
        (ConfigError::Name(NameError::Network("x".into())), 7),
        (ConfigError::NoPlugin("x".into()), 7),
        (
            ConfigError::Key {
                key: "name".into(),
                reason: "x".into(),
            },
            7,
        ),
    ] {
        assert_eq!(CniError::from(error).code, code);
    }
    let error = PluginResult::parse(b"garbage", Version::V1_0_0).expect_err("no result");
    assert!(CniError::from(error).is(Code::Decode));
}

#[test]
fn phrases_that_look_like_a_successful_del_are_reworded() {
    rows!("C-10");
    let error = CniError::new(
        Code::Io,
        "lease Not Found: No such file or directory, NOT FOUND",
    );
    let error = error.with_details("x not found").for_del();
    assert_eq!(
        error,
        CniError::new(Code::Io, "lease missing: does not exist, missing").with_details("x missing")
    );
}

#[test]
fn a_long_error_loses_its_middle() {
    let error = CniError::new(Code::Io, format!("start {} end", "ä".repeat(1 << 20)))
        .with_details(format!("first {} last", "b".repeat(1 << 20)))
        .context("context");
    for (text, start, end) in [
        (&error.msg, "context: start ä", "ä end"),
        (&error.details, "first b", "b last"),
    ] {
        assert!(text.len() < 4300, "{}", text.len());
        assert!(text.starts_with(start) && text.ends_with(end), "{text}");
        assert!(text.contains("bytes) …"), "{text}");
    }
    let longest = "a".repeat(4 << 10);
    assert_eq!(CniError::new(Code::Io, longest.as_str()).msg, longest);
}

#[test]
fn messages_cut_the_text_that_they_quote() {
    let long = "a".repeat(1 << 20);
    let defaults = Defaults {
        name: None,
        version: Version::LATEST,
    };
    let config = |text: String| CniError::from(NetworkConfig::parse(&text, defaults).unwrap_err());
    let result = |text: String| {
        CniError::from(PluginResult::parse(text.as_bytes(), Version::LATEST).unwrap_err())
    };
    for error in [
        config(format!(
            r#"{{"cniVersion":"{long}","name":"n","type":"t"}}"#
        )),
        config(format!(
            r#"{{"cniVersions":["{long}"],"name":"n","type":"t"}}"#
        )),
        config(format!(r#"{{"name":"-{long}","type":"t"}}"#)),
        config(format!(r#"{{"name":"{long}","type":"t"}}"#)),
        config(format!(r#"{{"name":"n","type":"{long}"}}"#)),
        config(format!(
            r#"{{"name":"n","plugins":[{{"type":"/{long}"}}]}}"#
        )),
        result(format!(r#"{{"cniVersion":"{long}"}}"#)),
        result(format!(r#"{{"ips":[{{"address":"{long}"}}]}}"#)),
        result(format!(
            r#"{{"ips":[{{"address":"10.0.0.1/8","gateway":"{long}"}}]}}"#
        )),
        result(format!(
            r#"{{"interfaces":[{{"name":"a","mtu":"{long}"}}]}}"#
        )),
        CniArgs::parse(&long).unwrap_err(),
        Verb::parse(&long).unwrap_err(),
        validate_container_id(&long).unwrap_err().into(),
        validate_ifname(&long).unwrap_err().into(),
        validate_pod_argument("K8S_POD_NAME", &long)
            .unwrap_err()
            .into(),
    ] {
        let text = error.to_string();
        assert!(text.len() < 600, "{} bytes: {text:.700}", text.len());
    }
}
