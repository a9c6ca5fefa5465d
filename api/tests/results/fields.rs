//! The fields of a result: what is read, printed and passed on.

use plexus_api::cni::{CniResult, PluginResult, Version};
use plexus_api::rows;
use serde_json::json;

use crate::{parse, raw, refused};

#[test]
fn every_field_of_1_1_0_is_read_and_printed() {
    rows!("T-001");
    let golden = json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1450, "sandbox": "/run/netns/a", "socketPath": "/run/s", "pciID": "0000:00:02.0"},
            {"name": "host0"},
        ],
        "ips": [
            {"address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 0},
            {"address": "fd00::3/64", "gateway": "fd00::1", "interface": 1},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1", "mtu": 1400, "advmss": 1360, "priority": 100, "table": 0, "scope": 0}],
        "dns": {"nameservers": ["10.0.0.53"], "domain": "d", "search": ["s"], "options": ["ndots:5"]},
    });
    let parsed = parse(&golden.to_string());
    let result = parsed.result();
    assert_eq!(result.interfaces[0].pci_id, "0000:00:02.0");
    assert_eq!(result.interfaces[0].socket_path, "/run/s");
    assert_eq!(result.interfaces[0].mtu, 1450);
    assert_eq!(result.ips[0].interface, Some(0));
    assert_eq!(result.routes[0].scope, Some(0));
    assert!(result.routes[0].is_default());
    let printed = PluginResult::from_result(result.clone(), Version::V1_1_0).expect("a result");
    assert_eq!(raw(&printed), golden);
    assert_eq!(printed.result(), result);
    // Records contain the result without a version.
    let again: CniResult = serde_json::from_str(&serde_json::to_string(result).unwrap()).unwrap();
    assert_eq!(&again, result);
}

#[test]
fn a_default_route_has_prefix_length_zero() {
    for (dst, default) in [
        ("0.0.0.0/0", true),
        ("::/0", true),
        ("0.0.0.0/1", false),
        ("10.0.0.0/8", false),
    ] {
        let result = parse(&format!(r#"{{"routes":[{{"dst":"{dst}"}}]}}"#));
        assert_eq!(result.result().routes[0].is_default(), default, "{dst}");
    }
}

#[test]
fn null_and_empty_values_count_as_missing() {
    let text = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"","mtu":0,"sandbox":null,"socketPath":"","pciID":null}],
        "ips":[{"address":"10.0.0.1/24","gateway":"","interface":null}],
        "routes":[{"dst":"0.0.0.0/0","gw":"","mtu":null},{"dst":"0.0.0.0/1","gw":null}],
        "dns":{"nameservers":null,"domain":"","search":null,"options":null}}"#;
    let result = parse(text);
    assert_eq!(result.result().ips[0].gateway, None);
    assert_eq!(result.result().routes[0].gw, None);
    assert!(result.result().dns.is_empty());
    let printed = PluginResult::from_result(result.result().clone(), Version::V1_0_0).unwrap();
    assert_eq!(
        raw(&printed),
        json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0"}],
            "ips": [{"address": "10.0.0.1/24"}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "0.0.0.0/1"}],
        })
    );
    for text in [
        r#"{"interfaces":null,"ips":null,"routes":null,"dns":null}"#,
        r#"{"cniVersion":"0.2.0","ip4":null,"ip6":null,"dns":null}"#,
    ] {
        assert_eq!(parse(text).result(), &CniResult::default(), "{text}");
    }
    let old =
        parse(r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.1/24","gateway":"","routes":null}}"#);
    assert_eq!(
        (old.result().ips[0].gateway, old.result().routes.len()),
        (None, 0)
    );
    assert_eq!(
        parse(r#"{"interfaces":[{"mac":"02:00:00:00:00:01"}]}"#)
            .result()
            .interfaces[0]
            .name,
        ""
    );
}

#[test]
fn addresses_have_a_prefix_length_and_keep_their_host_bits() {
    rows!("T-010");
    for address in ["10.1.2.3/24", "fd00::1:2/64", "0.0.0.0/0", "10.0.0.1/32"] {
        let text =
            format!(r#"{{"ips":[{{"address":"{address}"}}],"routes":[{{"dst":"{address}"}}]}}"#);
        let result = parse(&text);
        assert_eq!(result.result().ips[0].address.to_string(), address);
        assert_eq!(result.result().routes[0].dst.to_string(), address);
        let printed = raw(&result.to_version(Version::V0_4_0).unwrap());
        assert_eq!(printed["ips"][0]["address"], address);
        assert_eq!(printed["routes"][0]["dst"], address);
    }
    for address in [
        "10.1.2.3",
        "fd00::1",
        "",
        "10.1.2.3/33",
        "10.1.2.3/-1",
        "fd00::1/129",
        "10.1.2/24",
        "x/24",
        "/24",
    ] {
        for text in [
            format!(r#"{{"ips":[{{"address":"{address}"}}]}}"#),
            format!(r#"{{"routes":[{{"dst":"{address}"}}]}}"#),
            format!(r#"{{"cniVersion":"0.2.0","ip4":{{"ip":"{address}"}}}}"#),
        ] {
            let msg = refused(&text);
            assert!(
                msg.contains(&format!("{address:?}")) && msg.contains("prefix length"),
                "{msg}"
            );
        }
    }
    for text in [
        r#"{"ips":[{}]}"#,
        r#"{"ips":[{"address":null}]}"#,
        r#"{"routes":[{"gw":"10.0.0.1"}]}"#,
        r#"{"ip4":{}, "cniVersion":"0.1.0"}"#,
    ] {
        refused(text);
    }
}

#[test]
fn unknown_keys_are_passed_on() {
    rows!("T-009");
    let text = r#"{"x":{"n":1e400},"cniVersion":"1.0.0","ips":[{"address":"10.0.0.1/24","y":9007199254740993}]}"#;
    assert_eq!(parse(text).raw().get(), text);
    // A missing version is added.
    let result = parse(r#"{"x":{"n":1e400}}"#);
    assert_eq!(
        result.raw().get(),
        r#"{"cniVersion":"1.0.0","x":{"n":1e400}}"#
    );
}
