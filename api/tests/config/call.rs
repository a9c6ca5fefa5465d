//! The configuration of a call, which the shim and the daemon read with the same rules.

use plexus_api::cni::{CallConfig, CniError, Verb, Version};
use plexus_api::rows;

const VERBS: [Verb; 5] = [Verb::Add, Verb::Del, Verb::Check, Verb::Status, Verb::Gc];

fn check(config: &str, verb: Verb) -> Result<Version, CniError> {
    let config = CallConfig::parse(config.as_bytes())?;
    config.check(verb)?;
    config.version()
}

#[test]
fn each_verb_has_a_first_version() {
    rows!("P-065", "P-066");
    for verb in VERBS {
        for version in Version::ALL {
            let config = format!(r#"{{"cniVersion":"{version}","name":"net"}}"#);
            match check(&config, verb) {
                Ok(checked) => {
                    assert_eq!(checked, version);
                    assert!(version >= verb.since(), "{verb} {version}");
                }
                Err(error) => {
                    assert_eq!(error.code, 1);
                    assert!(version < verb.since(), "{verb} {version}");
                    for part in [verb.as_str(), version.as_str(), verb.since().as_str()] {
                        assert!(error.msg.contains(part), "{error}");
                    }
                }
            }
        }
    }
    assert_eq!(
        VERBS.map(|verb| verb.since().as_str()),
        ["0.1.0", "0.1.0", "0.4.0", "1.1.0", "1.1.0"]
    );
}

#[test]
fn of_two_spellings_of_a_key_the_last_one_wins() {
    for (config, expected) in [
        (
            r#"{"cniVersion":"0.4.0","cniversion":"1.1.0","name":"net"}"#,
            Some(Version::V1_1_0),
        ),
        (
            r#"{"cniversion":"0.4.0","cniVersion":"1.1.0","name":"net"}"#,
            Some(Version::V1_1_0),
        ),
        (
            r#"{"cniVersion":"1.1.0","cniversion":"0.4.0","name":"net"}"#,
            None,
        ),
        (
            r#"{"cniversion":"1.1.0","cniVersion":"0.4.0","name":"net"}"#,
            None,
        ),
        (r#"{"cniVersion":"1.1.0","name":"net","NAME":"a/b"}"#, None),
        (
            r#"{"NAME":"a/b","cniVersion":"1.1.0","name":"net"}"#,
            Some(Version::V1_1_0),
        ),
    ] {
        assert_eq!(check(config, Verb::Status).ok(), expected, "{config}");
    }
}

#[test]
fn name_and_version_must_be_strings() {
    for (config, key) in [
        (r#"{"cniVersion":1.1,"name":"net"}"#, "\"cniVersion\""),
        (r#"{"cniVersion":"1.1.0","name":["net"]}"#, "\"name\""),
    ] {
        let error = check(config, Verb::Del).expect_err(config);
        assert_eq!(error.code, 7);
        assert!(error.msg.contains(key), "{error}");
    }
}
