//! Random output of plugins.

use plexus_api::cni::{PluginResult, Version};
use plexus_api::rows;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::raw;

/// Any JSON, with keys and values of results.
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

/// Results like those of plugins, with indexes that may be invalid.
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

/// Asserts that another reader of the text finds no invalid index.
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

fn assert_valid_in_every_version(given: &PluginResult) {
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
            assert_valid_in_every_version(&given);
        }
    }

    #[test]
    fn any_json_never_panics_and_yields_no_invalid_index(value in any_json()) {
        rows!("T-008");
        for version in [Version::V0_2_0, Version::V0_4_0, Version::V1_1_0] {
            if let Ok(given) = PluginResult::parse(value.to_string().as_bytes(), version) {
                assert_indexes_in_range(&given);
                assert_valid_in_every_version(&given);
            }
        }
    }

    #[test]
    fn plausible_results_are_accepted_and_their_indexes_are_in_range(value in plausible()) {
        rows!("T-008");
        let given = PluginResult::parse(value.to_string().as_bytes(), Version::V1_1_0);
        let given = given.expect("a plausible result");
        assert_indexes_in_range(&given);
        assert_valid_in_every_version(&given);
        prop_assert_eq!(&raw(&given)["vendor"], &json!([1]));
    }
}
