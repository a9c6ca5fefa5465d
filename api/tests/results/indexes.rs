//! Indexes of interfaces: invalid ones are never passed on.

use plexus_api::cni::{PluginResult, Version};
use plexus_api::rows;
use serde_json::json;

use crate::{parse, raw, refused};

#[test]
fn index_minus_one_means_no_interface() {
    rows!("T-007");
    let text = r#"{"cniVersion":"0.3.1","interfaces":[{"name":"eth0"}],"ips":[{"version":"4","address":"10.0.0.1/24","interface":-1,"x":1e400},{"version":"4","address":"10.0.0.2/24","interface":0}],"y":{}}"#;
    let result = parse(text);
    assert_eq!(result.result().ips[0].interface, None);
    assert_eq!(result.result().ips[1].interface, Some(0));
    // Only the index is removed.
    let expected = text.replace(r#""interface":-1,"#, "");
    let (text, expected): (Vec<_>, Vec<_>) =
        (sorted_bytes(result.raw().get()), sorted_bytes(&expected));
    assert_eq!(text, expected);
    assert!(
        result
            .raw()
            .get()
            .contains(r#"{"address":"10.0.0.1/24","version":"4","x":1e400}"#)
    );
    for version in Version::ALL {
        assert!(
            !result
                .to_version(version)
                .unwrap()
                .raw()
                .get()
                .contains("-1")
        );
    }
}

/// The sorted bytes of `text`, to compare objects with another order of keys.
fn sorted_bytes(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes
}

#[test]
fn an_index_out_of_range_is_removed() {
    rows!("T-008");
    for (index, kept) in [
        ("0", true),
        ("1", true),
        ("2", false),
        ("3", false),
        ("9223372036854775807", false),
        ("-2", false),
    ] {
        let text = format!(
            r#"{{"cniVersion":"1.0.0","interfaces":[{{"name":"a"}},{{"name":"b"}}],"ips":[{{"address":"10.0.0.1/24","interface":{index}}}]}}"#
        );
        let result = parse(&text);
        assert_eq!(result.result().ips[0].interface.is_some(), kept, "{index}");
        assert_eq!(
            raw(&result)["ips"][0].get("interface").is_some(),
            kept,
            "{index}"
        );
        if kept {
            assert_eq!(result.raw().get(), text);
        }
    }
    let mut ours =
        parse(r#"{"interfaces":[{"name":"a"}],"ips":[{"address":"10.0.0.1/24","interface":0}]}"#)
            .result()
            .clone();
    ours.interfaces.clear();
    let printed = PluginResult::from_result(ours, Version::V1_1_0).unwrap();
    assert_eq!(raw(&printed)["ips"], json!([{"address": "10.0.0.1/24"}]));
    assert_eq!(printed.result().ips[0].interface, None);
}

#[test]
fn keys_that_go_would_read_as_indexes_are_refused() {
    rows!("T-008");
    for (text, key) in [
        (
            r#"{"ips":[{"address":"10.0.0.1/24","Interface":7}]}"#,
            "Interface",
        ),
        (
            r#"{"IPs":[{"address":"10.0.0.1/24","interface":7}]}"#,
            "IPs",
        ),
        (
            r#"{"interfaces":[{"name":"a"}],"Interfaces":[]}"#,
            "Interfaces",
        ),
        (r#"{"CNIVersion":"0.2.0"}"#, "CNIVersion"),
    ] {
        let msg = refused(text);
        assert!(msg.contains(key), "{msg}");
    }
}
