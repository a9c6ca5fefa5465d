//! The protocol between shim and daemon, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

use plexus_api::cni::{CniArgs, CniEnv, Defaults, NetworkConfig, PluginResult, Verb, Version};
use plexus_api::json::MAX_CONFIG;
use plexus_api::wire::{MAX_REQUEST, Moment, Request, Response};
use serde_json::Value;

#[test]
fn a_request_has_the_environment_and_the_configuration_in_base64() {
    let config = b"{\"name\":\"\xc3\xa4\"}\n\xff".to_vec();
    let request = Request {
        env: [("CNI_COMMAND".to_owned(), "ADD".to_owned())].into(),
        config,
        at: None,
    };
    let text = serde_json::to_string(&request).expect("JSON");
    assert_eq!(
        text,
        r#"{"env":{"CNI_COMMAND":"ADD"},"config":"eyJuYW1lIjoiw6QifQr/"}"#
    );
    assert_eq!(
        serde_json::from_str::<Request>(&text).expect("the same"),
        request
    );
}

#[test]
fn a_spooled_request_may_have_a_time() {
    let text = r#"{"env":{},"config":"","at":{"bootId":"b","boottimeNs":18446744073709551615}}"#;
    let request: Request = serde_json::from_str(text).expect("a request");
    assert_eq!(
        request.at,
        Some(Moment {
            boot_id: "b".to_owned(),
            boottime_ns: u64::MAX
        })
    );
    assert_eq!(serde_json::to_string(&request).expect("JSON"), text);
    for text in [
        r#"{"env":{},"config":""}"#,
        r#"{"env":{},"config":"","at":null}"#,
    ] {
        assert_eq!(
            serde_json::from_str::<Request>(text).expect("a request").at,
            None,
            "{text}"
        );
    }
}

#[test]
fn the_largest_configuration_fits_into_a_request() {
    let request = Request {
        env: BTreeMap::new(),
        config: vec![b'x'; MAX_CONFIG],
        at: None,
    };
    let environment = 256 << 10;
    assert!(serde_json::to_vec(&request).expect("JSON").len() + environment < MAX_REQUEST);
}

#[test]
fn a_missing_configuration_is_empty() {
    for text in [
        r#"{"env":{}}"#,
        r#"{"env":{},"config":null}"#,
        r#"{"env":{},"config":"","more":1}"#,
    ] {
        let request: Request = serde_json::from_str(text).expect(text);
        assert!(request.env.is_empty() && request.config.is_empty());
    }
}

#[test]
fn invalid_requests_are_refused() {
    for text in [
        "null",
        "{}",
        r#"{"env":5}"#,
        r#"{"env":{"A":1}}"#,
        r#"{"env":{},"config":"%"}"#,
        r#"{"env":{},"config":"QQ"}"#,
        r#"{"env":{},"config":5}"#,
    ] {
        assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
    }
}

#[test]
fn a_response_contains_the_result_unchanged() {
    let text = r#"{"Result":{"cniVersion":"1.1.0","vendor": 1e400}}"#;
    let response: Response = serde_json::from_str(text).expect("an answer");
    assert_eq!(serde_json::to_string(&response).expect("JSON"), text);
    let result =
        PluginResult::parse(response.result.get().as_bytes(), Version::V0_1_0).expect("a result");
    assert_eq!(
        result
            .to_version(Version::V1_0_0)
            .expect("fine")
            .raw()
            .get(),
        r#"{"cniVersion":"1.0.0","vendor":1e400}"#
    );
    assert!(serde_json::from_str::<Response>("{}").is_err());
}

/// Requests captured between Multus' shim and its daemon. They are not part of the repository.
#[test]
fn captured_requests_of_multus_are_read() {
    let Some(vectors) = std::env::var_os("PLEXUS_VECTORS").filter(|path| Path::new(path).is_dir())
    else {
        eprintln!("skipped: PLEXUS_VECTORS is not a directory with captured requests");
        return;
    };
    let mut verbs = Vec::new();
    for entry in std::fs::read_dir(vectors).expect("a directory") {
        let path = entry.expect("an entry").path();
        if !path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("shim-wire-"))
        {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("text");
        for line in text.lines().filter(|line| line.starts_with(r#"{"env":"#)) {
            let request: Request = serde_json::from_str(line).expect(line);
            let again = serde_json::to_value(&request).expect("JSON");
            assert_eq!(again, serde_json::from_str::<Value>(line).expect("JSON"));
            let env = CniEnv::from_map(&request.env).expect(line);
            let args = CniArgs::parse(&env.args).expect("valid arguments");
            assert_eq!(args.to_string(), env.args);
            let config = String::from_utf8(request.config).expect("UTF-8");
            let defaults = Defaults {
                name: None,
                version: Version::V0_1_0,
            };
            let network = NetworkConfig::parse(&config, defaults).expect("a configuration");
            assert_eq!(network.plugins[0].kind(), "multus-shim");
            verbs.push(env.verb);
        }
    }
    for verb in [Verb::Add, Verb::Del, Verb::Check] {
        assert!(
            verbs.contains(&verb),
            "no {verb} among {} requests",
            verbs.len()
        );
    }
}
