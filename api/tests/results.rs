//! What a plugin printed: what it means, what is refused, and what goes on to others.

use plexus_api::cni::{CniResult, PluginResult, Version};
use plexus_api::json::{MAX_DEPTH, MAX_RESULT};
use plexus_api::rows;
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(text: &str) -> PluginResult {
    PluginResult::parse(text.as_bytes(), Version::V1_0_0)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    match PluginResult::parse(text.as_bytes(), Version::V1_0_0) {
        Ok(result) => panic!("{text} was read as {result:?}"),
        Err(error) => {
            assert_eq!(error.code, 6, "{text}: {error}");
            assert!(error.msg.contains("result"), "{text}: {error}");
            error.msg
        }
    }
}

fn raw(result: &PluginResult) -> Value {
    serde_json::from_str(result.raw().get()).expect("JSON")
}

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
    // The model is also read and printed by itself, in records.
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
fn a_result_without_a_version_is_in_the_version_of_the_configuration() {
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
    // The shape follows the configuration too.
    let old = PluginResult::parse(br#"{"ip4":{"ip":"10.0.0.1/24"}}"#, Version::V0_2_0).unwrap();
    assert_eq!(old.result().ips[0].address.to_string(), "10.0.0.1/24");
    // A version that the plugin states is its own.
    let stated = PluginResult::parse(br#"{"cniVersion":"0.3.1"}"#, Version::V1_0_0).unwrap();
    assert_eq!(stated.version(), Version::V0_3_1);
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
fn nothing_at_all_is_an_error() {
    rows!("T-005");
    for text in ["", " ", "\n\t\r\n"] {
        assert!(refused(text).contains("printed no result"), "{text:?}");
    }
}

#[test]
fn a_version_that_nobody_speaks_is_named() {
    for text in [
        r#"{"cniVersion":"9.9.9"}"#,
        r#"{"cniVersion":"1.0"}"#,
        r#"{"cniVersion":"v1.0.0"}"#,
    ] {
        let error = PluginResult::parse(text.as_bytes(), Version::V1_0_0).expect_err(text);
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
fn index_minus_one_is_no_interface() {
    rows!("T-007");
    let text = r#"{"cniVersion":"0.3.1","interfaces":[{"name":"eth0"}],"ips":[{"version":"4","address":"10.0.0.1/24","interface":-1,"x":1e400},{"version":"4","address":"10.0.0.2/24","interface":0}],"y":{}}"#;
    let result = parse(text);
    assert_eq!(result.result().ips[0].interface, None);
    assert_eq!(result.result().ips[1].interface, Some(0));
    // Only that key is gone.
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

/// The bytes of `text` in order, to compare objects whose keys stand in another order.
fn sorted_bytes(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes
}

#[test]
fn an_index_that_names_no_interface_does_not_leave() {
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
fn keys_that_go_would_take_for_indexes_are_refused() {
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

#[test]
fn unknown_keys_pass() {
    rows!("T-009");
    let text = r#"{"x":{"n":1e400},"cniVersion":"1.0.0","ips":[{"address":"10.0.0.1/24","y":9007199254740993}]}"#;
    assert_eq!(parse(text).raw().get(), text);
    // Also where the version has to be filled in.
    let result = parse(r#"{"x":{"n":1e400}}"#);
    assert_eq!(
        result.raw().get(),
        r#"{"cniVersion":"1.0.0","x":{"n":1e400}}"#
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
fn what_go_writes_for_nothing_is_nothing() {
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
fn what_is_no_result_is_refused() {
    for text in [
        "{",
        "[]",
        "5",
        "\"x\"",
        "garbage",
        "{} {}",
        r#"{"ips":{}}"#,
        r#"{"ips":[null]}"#,
        r#"{"ips":[5]}"#,
        r#"{"ips":[["10.0.0.1/24",null,9]]}"#,
        r#"{"interfaces":[null]}"#,
        r#"{"interfaces":[{"name":5}]}"#,
        r#"{"interfaces":[{"name":"a","mtu":-1}]}"#,
        r#"{"ips":[{"address":"10.0.0.1/24","gateway":"10.0.0.1/24"}]}"#,
        r#"{"ips":[{"address":"10.0.0.1/24","gateway":"x"}]}"#,
        r#"{"ips":[{"address":"10.0.0.1/24","interface":"0"}]}"#,
        r#"{"ips":[{"address":"10.0.0.1/24","interface":0.5}]}"#,
        r#"{"routes":[{"dst":"0.0.0.0/0","table":"main"}]}"#,
        r#"{"dns":{"nameservers":"10.0.0.1"}}"#,
        r#"{"cniVersion":"0.2.0","ip4":[]}"#,
    ] {
        refused(text);
    }
    let error = PluginResult::parse(b"{\"x\":\"\xff\"}", Version::V1_0_0).expect_err("not UTF-8");
    assert_eq!(error.code, 6);
}

#[test]
fn duplicate_and_absurd_output_is_refused() {
    rows!("T-012");
    refused(r#"{"ips":[],"ips":[]}"#);
    refused(r#"{"ips":[{"address":"10.0.0.1/24","address":"10.0.0.2/24"}]}"#);
    let deep = |levels: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    parse(&deep(MAX_DEPTH - 1));
    for levels in [MAX_DEPTH, 10_000] {
        let error =
            PluginResult::parse(deep(levels).as_bytes(), Version::V1_0_0).expect_err("too deep");
        assert_eq!(error.code, 6);
        assert!(error.msg.contains("nested"), "{error}");
    }
    let long = |len: usize| format!(r#"{{"x":"{}"}}"#, "a".repeat(len - 8));
    parse(&long(MAX_RESULT));
    let error = PluginResult::parse(long(MAX_RESULT + 1).as_bytes(), Version::V1_0_0)
        .expect_err("too long");
    assert_eq!(error.code, 6);
    assert!(error.msg.contains("bytes"), "{error}");
}

/// JSON of any form, with the keys and values of results among it.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just("10.0.0.1/24"),
            Just("fd00::1/64"),
            Just("::ffff:10.0.0.1/128"),
            Just("10.0.0.1"),
            Just(""),
            Just("0.2.0"),
            Just("0.4.0"),
        ]
        .prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        Just("cniVersion"),
        Just("interfaces"),
        Just("ips"),
        Just("routes"),
        Just("dns"),
        Just("ip4"),
        Just("ip6"),
        Just("interface"),
        Just("Interface"),
        Just("address"),
        Just("name"),
        Just("dst"),
        Just("gw"),
        Just("ip"),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|map| map
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Value>()),
        ]
    })
}

/// Results as plugins print them, with indexes that may be wrong.
fn plausible() -> impl Strategy<Value = Value> {
    let address = prop_oneof![
        any::<([u8; 4], u8)>().prop_map(|(ip, len)| format!(
            "{}/{}",
            std::net::Ipv4Addr::from(ip),
            len % 33
        )),
        any::<([u8; 16], u8)>().prop_map(|(ip, len)| format!(
            "{}/{}",
            std::net::Ipv6Addr::from(ip),
            len % 129
        )),
    ];
    let ip = (
        address.clone(),
        prop::option::of(prop_oneof![-3_i64..5, any::<i64>()]),
    )
        .prop_map(|(address, interface)| {
            let mut ip = json!({"address": address});
            if let Some(index) = interface {
                ip["interface"] = json!(index);
            }
            ip
        });
    let version = prop::option::of(prop::sample::select(Version::ALL.to_vec()));
    (
        version,
        0_usize..4,
        prop::collection::vec(ip, 0..4),
        prop::collection::vec(address, 0..3),
    )
        .prop_map(|(version, interfaces, ips, routes)| {
            let interfaces: Vec<_> = (0..interfaces)
                .map(|n| json!({"name": format!("net{n}"), "mtu": n}))
                .collect();
            let routes: Vec<_> = routes.iter().map(|dst| json!({"dst": dst})).collect();
            let mut result =
                json!({"interfaces": interfaces, "ips": ips, "routes": routes, "vendor": [1]});
            if let Some(version) = version {
                result["cniVersion"] = json!(version.as_str());
            }
            result
        })
}

/// Every index in `text`, as a reader that knows nothing of us would use it.
fn assert_indexes_in_range(result: &PluginResult) {
    let value = raw(result);
    let count = value["interfaces"].as_array().map_or(0, Vec::len);
    for ip in value["ips"].as_array().into_iter().flatten() {
        if let Some(index) = ip.get("interface").filter(|index| !index.is_null()) {
            let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
            assert!(index.is_some_and(|index| index < count), "{value}");
        }
    }
}

fn assert_sound_in_every_version(given: &PluginResult) {
    for version in Version::ALL {
        let Ok(converted) = given.to_version(version) else {
            assert!(version <= Version::V0_2_0 && given.result().ips.is_empty());
            continue;
        };
        assert_indexes_in_range(&converted);
        assert_eq!(raw(&converted)["cniVersion"], version.as_str());
        let again = PluginResult::parse(converted.raw().get().as_bytes(), Version::V0_1_0)
            .expect("our own output");
        assert_eq!(
            (again.version(), again.result()),
            (version, converted.result())
        );
    }
}

proptest! {
    #[test]
    fn bytes_never_panic(text: Vec<u8>) {
        if let Ok(given) = PluginResult::parse(&text, Version::V1_1_0) {
            assert_sound_in_every_version(&given);
        }
    }

    #[test]
    fn any_json_never_panics_nor_leaks_an_index(value in any_json()) {
        rows!("T-008");
        for version in [Version::V0_2_0, Version::V0_4_0, Version::V1_1_0] {
            if let Ok(given) = PluginResult::parse(value.to_string().as_bytes(), version) {
                assert_indexes_in_range(&given);
                assert_sound_in_every_version(&given);
            }
        }
    }

    #[test]
    fn plausible_results_are_read_and_their_indexes_are_in_range(value in plausible()) {
        rows!("T-008");
        let given = PluginResult::parse(value.to_string().as_bytes(), Version::V1_1_0);
        let given = given.expect("a plausible result");
        assert_indexes_in_range(&given);
        assert_sound_in_every_version(&given);
        prop_assert_eq!(&raw(&given)["vendor"], &json!([1]));
    }
}
