//! Indexes of interfaces: invalid ones are never passed on.

use plexus_api::cni::{PluginResult, Version};
use plexus_api::rows;
use serde_json::json;

use crate::{parse, raw};

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
fn keys_are_checked_in_every_spelling_that_go_reads() {
    rows!("T-008");
    let rest = r#""interfaces":[{"name":"a"}],"ips":[{"address":"10.0.0.1/24"}]}"#;
    let removed = format!(r#"{{"cniVersion":"1.0.0",{rest}"#);
    for text in [
        r#"{"interfaces":[{"name":"a"}],"ips":[{"address":"10.0.0.1/24","Interface":7}]}"#,
        r#"{"Interfaces":[{"Name":"a"}],"IPs":[{"Address":"10.0.0.1/24","INTERFACE":7}]}"#,
        r#"{"CNIVersion":"1.0.0","interface\u017f":[{"name":"a"}],"ip\u017f":[{"address":"10.0.0.1/24","interface":7}]}"#,
        "{\"interface\u{17f}\":[{\"name\":\"a\"}],\"ip\u{17f}\":[{\"addre\u{17f}s\":\"10.0.0.1/24\",\"interface\":-1}]}",
    ] {
        let result = parse(text);
        assert_eq!(result.result().ips[0].interface, None, "{text}");
        let expected: serde_json::Value = serde_json::from_str(&removed).expect("JSON");
        assert_eq!(raw(&result), expected, "{text}");
    }
}

#[test]
fn known_keys_are_passed_on_in_their_exact_spelling() {
    rows!("T-009");
    let text = r#"{"cniVersion":"1.0.0","Interfaces":[{"Name":"a","MAC":"02:00:00:00:00:01","MTU":1500,"Sandbox":"/n","SocketPath":"/s","PCIID":"0"}],"IPS":[{"Address":"10.0.0.1/24","Gateway":"10.0.0.254","Interface":0,"X":1e400}],"Routes":[{"DST":"0.0.0.0/0","GW":"10.0.0.254"}],"DNS":{"Nameservers":["10.0.0.2"],"Search":["a"]},"Vendor":{"Name":1}}"#;
    let expected = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"a","mac":"02:00:00:00:00:01","mtu":1500,"sandbox":"/n","socketPath":"/s","pciID":"0"}],"ips":[{"address":"10.0.0.1/24","gateway":"10.0.0.254","interface":0,"X":1e400}],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.254"}],"dns":{"nameservers":["10.0.0.2"],"search":["a"]},"Vendor":{"Name":1}}"#;
    let result = parse(text);
    assert_eq!(result.raw().get(), expected);
    assert_eq!(result.result(), parse(expected).result());
    assert_eq!(result.result().routes.len(), 1);
    let old = parse(
        r#"{"cniVersion":"0.2.0","IP4":{"IP":"10.0.0.1/24","Routes":[{"Dst":"0.0.0.0/0"}]}}"#,
    );
    assert_eq!((old.result().ips.len(), old.result().routes.len()), (1, 1));
}
