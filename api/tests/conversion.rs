//! Conversion of results between all versions: what is kept, dropped and refused.

use plexus_api::cni::{CniError, CniResult, Code, PluginResult, Version};
use plexus_api::rows;
use serde_json::{Value, json};

// The versions of each format.
const FAMILIES: [Version; 2] = [Version::V0_1_0, Version::V0_2_0];
const LISTS: [Version; 3] = [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0];
const CURRENT: [Version; 2] = [Version::V1_0_0, Version::V1_1_0];

fn format_of(version: Version) -> usize {
    [&FAMILIES[..], &LISTS, &CURRENT]
        .iter()
        .position(|versions| versions.contains(&version))
        .expect("every version has a format")
}

fn in_version(mut body: Value, version: Version) -> Value {
    body["cniVersion"] = json!(version.as_str());
    body
}

fn parse(value: &Value) -> PluginResult {
    PluginResult::parse(value.to_string().as_bytes(), Version::V1_1_0).expect("a result")
}

fn raw(result: &PluginResult) -> Value {
    serde_json::from_str(result.raw().get()).expect("JSON")
}

/// A result with many keys in each format, including a key that no version has.
fn rich() -> [Value; 3] {
    let dns = json!({"nameservers": ["10.0.0.53"], "domain": "d.example", "search": ["s.example"], "options": ["ndots:5"]});
    [
        json!({
            "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}, {"dst": "10.9.0.0/16"}]},
            "ip6": {"ip": "fd00::3/64", "gateway": "fd00::1", "routes": [{"dst": "::/0", "gw": "fd00::1"}]},
            "dns": dns,
            "vendor": {"n": 1},
        }),
        json!({
            "interfaces": [{"name": "vethx", "mac": "02:00:00:00:00:01"}, {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/a"}],
            "ips": [
                {"version": "6", "address": "fd00::3/64", "gateway": "fd00::1", "interface": 1},
                {"version": "4", "address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 0},
                {"version": "4", "address": "10.1.2.4/24"},
            ],
            "routes": [{"dst": "::/0", "gw": "fd00::1"}, {"dst": "0.0.0.0/0", "gw": "10.1.2.1", "mtu": 1400}],
            "dns": dns,
            "vendor": {"n": 1},
        }),
        json!({
            "interfaces": [
                {"name": "vethx", "mac": "02:00:00:00:00:01", "mtu": 1500, "socketPath": "/run/s", "pciID": "0000:00:02.0"},
                {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/a", "mtu": 1400},
            ],
            "ips": [
                {"address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 0},
                {"address": "fd00::3/64", "interface": 1},
                {"address": "fd00::4/64"},
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1", "mtu": 1400, "advmss": 1360, "priority": 100, "table": 5, "scope": 0}],
            "dns": dns,
            "vendor": {"n": 1},
        }),
    ]
}

/// The conversions of `rich()`: the row is the original format, the column the new one.
fn golden() -> [[Value; 3]; 3] {
    let dns = json!({"nameservers": ["10.0.0.53"], "domain": "d.example", "search": ["s.example"], "options": ["ndots:5"]});
    let [families, lists, current] = rich();
    let family_routes = json!([{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}, {"dst": "10.9.0.0/16"}, {"dst": "::/0", "gw": "fd00::1"}]);
    [
        [
            families,
            json!({
                "ips": [
                    {"version": "4", "address": "10.1.2.3/24", "gateway": "10.1.2.1"},
                    {"version": "6", "address": "fd00::3/64", "gateway": "fd00::1"},
                ],
                "routes": family_routes,
                "dns": dns,
            }),
            json!({
                "ips": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}, {"address": "fd00::3/64", "gateway": "fd00::1"}],
                "routes": family_routes,
                "dns": dns,
            }),
        ],
        [
            json!({
                "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}]},
                "ip6": {"ip": "fd00::3/64", "gateway": "fd00::1", "routes": [{"dst": "::/0", "gw": "fd00::1"}]},
                "dns": dns,
            }),
            lists,
            json!({
                "interfaces": [{"name": "vethx", "mac": "02:00:00:00:00:01"}, {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/a"}],
                "ips": [
                    {"address": "fd00::3/64", "gateway": "fd00::1", "interface": 1},
                    {"address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 0},
                    {"address": "10.1.2.4/24"},
                ],
                "routes": [{"dst": "::/0", "gw": "fd00::1"}, {"dst": "0.0.0.0/0", "gw": "10.1.2.1", "mtu": 1400}],
                "dns": dns,
            }),
        ],
        [
            json!({
                "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}]},
                "ip6": {"ip": "fd00::3/64"},
                "dns": dns,
            }),
            json!({
                "interfaces": [{"name": "vethx", "mac": "02:00:00:00:00:01"}, {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/a"}],
                "ips": [
                    {"version": "4", "address": "10.1.2.3/24", "gateway": "10.1.2.1", "interface": 0},
                    {"version": "6", "address": "fd00::3/64", "interface": 1},
                    {"version": "6", "address": "fd00::4/64"},
                ],
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1", "mtu": 1400, "advmss": 1360, "priority": 100, "table": 5, "scope": 0}],
                "dns": dns,
            }),
            current,
        ],
    ]
}

#[test]
fn every_version_converts_to_every_other() {
    rows!("T-002", "P-067", "T-009");
    let (rich, golden) = (rich(), golden());
    for from in Version::ALL {
        let given = parse(&in_version(rich[format_of(from)].clone(), from));
        assert_eq!(given.version(), from);
        for to in Version::ALL {
            let converted = given.to_version(to).expect("it has addresses");
            let expected = in_version(golden[format_of(from)][format_of(to)].clone(), to);
            assert_eq!(raw(&converted), expected, "{from} to {to}");
            assert_eq!(converted.version(), to);
            // The meaning agrees with the text.
            assert_eq!(
                parse(&expected).result(),
                converted.result(),
                "{from} to {to}"
            );
        }
    }
}

#[test]
fn conversion_to_the_same_version_keeps_the_text() {
    rows!("T-009");
    for (versions, body) in [(&FAMILIES[..], 0), (&LISTS, 1), (&CURRENT, 2)] {
        for version in versions {
            let text = format!(" {:#}\n", in_version(rich()[body].clone(), *version));
            let given = PluginResult::parse(text.as_bytes(), Version::V0_1_0).expect("a result");
            assert_eq!(given.raw().get(), text.trim());
            assert_eq!(
                given.to_version(*version).expect("the same").raw().get(),
                text.trim()
            );
        }
    }
}

#[test]
fn numbers_in_unknown_keys_survive_conversion_within_a_format() {
    rows!("T-009");
    let text = br#"{"cniVersion":"1.0.0","vendor":[9007199254740993,1e400,0.10]}"#;
    let converted = PluginResult::parse(text, Version::V1_0_0)
        .unwrap()
        .to_version(Version::V1_1_0)
        .unwrap();
    assert_eq!(
        converted.raw().get(),
        r#"{"cniVersion":"1.1.0","vendor":[9007199254740993,1e400,0.10]}"#
    );
}

#[test]
fn the_oldest_versions_need_an_address() {
    rows!("T-002");
    for from in LISTS.into_iter().chain(CURRENT) {
        let given = parse(&in_version(json!({"interfaces": [{"name": "eth0"}]}), from));
        for to in FAMILIES {
            let error = CniError::from(given.to_version(to).expect_err("no address"));
            assert_eq!(error.code, 1);
            assert!(
                error.msg.contains(to.as_str()) && error.msg.contains("without an IP address"),
                "{error}"
            );
        }
        for to in LISTS.into_iter().chain(CURRENT) {
            assert_eq!(
                given.to_version(to).expect("fine").result().interfaces[0].name,
                "eth0"
            );
        }
    }
    // 0.1.0 and 0.2.0 have the same format, so an empty result can be converted.
    let empty = PluginResult::parse(b"{}", Version::V0_2_0)
        .unwrap()
        .to_version(Version::V0_1_0)
        .unwrap();
    assert_eq!(raw(&empty), json!({"cniVersion": "0.1.0"}));
}

#[test]
fn the_oldest_versions_drop_routes_of_a_family_without_an_address() {
    rows!("T-002");
    let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::1", "priority": 7}]);
    let dns = json!({});
    for (address, key, route) in [
        ("10.0.0.1/24", "ip4", json!({"dst": "0.0.0.0/0"})),
        ("fd00::2/64", "ip6", json!({"dst": "::/0", "gw": "fd00::1"})),
    ] {
        let given =
            parse(&json!({"cniVersion": "1.1.0", "ips": [{"address": address}], "routes": routes}));
        let expected =
            json!({"cniVersion": "0.2.0", key: {"ip": address, "routes": [route]}, "dns": dns});
        assert_eq!(raw(&given.to_version(Version::V0_2_0).unwrap()), expected);
    }
}

#[test]
fn an_ipv4_mapped_address_is_ipv4() {
    rows!("T-010");
    let given = parse(&json!({
        "cniVersion": "1.1.0",
        "ips": [{"address": "::ffff:10.0.0.1/128", "gateway": "::ffff:10.0.0.254"}],
        "routes": [{"dst": "::ffff:10.0.0.0/120"}],
    }));
    assert_eq!(
        raw(&given.to_version(Version::V0_4_0).unwrap()),
        json!({
            "cniVersion": "0.4.0",
            "ips": [{"version": "4", "address": "10.0.0.1/32", "gateway": "10.0.0.254"}],
            "routes": [{"dst": "10.0.0.0/24"}],
            "dns": {},
        })
    );
    // A network larger than the mapped range is not IPv4.
    let given = parse(&json!({"cniVersion": "1.1.0", "ips": [{"address": "::ffff:10.0.0.1/95"}]}));
    assert_eq!(
        raw(&given.to_version(Version::V0_4_0).unwrap())["ips"][0]["version"],
        "6"
    );
    let given = parse(&json!({"cniVersion": "1.1.0", "ips": [{"address": "::ffff:10.0.0.1/96"}]}));
    assert_eq!(
        raw(&given.to_version(Version::V0_4_0).unwrap())["ips"][0]["address"],
        "10.0.0.1/0"
    );
}

#[test]
fn empty_dns_is_omitted_since_1_0_0() {
    rows!("T-011");
    let body = || json!({"ips": [{"address": "10.0.0.1/24"}], "dns": {}});
    for (from, to, dns) in [
        (Version::V0_4_0, Version::V1_1_0, None),
        (Version::V0_2_0, Version::V1_0_0, None),
        (Version::V1_1_0, Version::V0_4_0, Some(json!({}))),
        (Version::V1_1_0, Version::V0_2_0, Some(json!({}))),
        (Version::V1_0_0, Version::V1_1_0, None),
        (Version::V1_1_0, Version::V1_1_0, None),
    ] {
        let given = if from == Version::V0_2_0 {
            json!({"ip4": {"ip": "10.0.0.1/24"}, "dns": {}})
        } else {
            body()
        };
        let converted = parse(&in_version(given, from)).to_version(to).unwrap();
        assert_eq!(raw(&converted).get("dns"), dns.as_ref(), "{from} to {to}");
    }
    for (key, value) in [
        ("domain", json!("a")),
        ("nameservers", json!(["a"])),
        ("search", json!(["a"])),
        ("options", json!(["a"])),
    ] {
        let given = parse(&json!({"cniVersion": "0.4.0", "dns": {key: value}}));
        assert_eq!(
            raw(&given.to_version(Version::V1_1_0).unwrap())["dns"],
            json!({key: value})
        );
    }
}

#[test]
fn a_result_of_plexus_is_printed_in_the_requested_version() {
    rows!("P-067", "P-064");
    let model = |version| -> CniResult {
        parse(&in_version(rich()[2].clone(), version))
            .result()
            .clone()
    };
    let golden = golden();
    for version in Version::ALL {
        let ours =
            PluginResult::from_result(model(Version::V1_1_0), version).expect("it has addresses");
        let mut expected = golden[2][format_of(version)].clone();
        expected
            .as_object_mut()
            .expect("an object")
            .remove("vendor");
        assert_eq!(raw(&ours), in_version(expected.clone(), version));
        assert_eq!(ours.version(), version);
        assert_eq!(
            ours.result(),
            parse(&in_version(expected, version)).result()
        );
    }
    let error =
        PluginResult::from_result(CniResult::default(), Version::V0_1_0).expect_err("no address");
    assert!(CniError::from(error).is(Code::IncompatibleVersion));
    let empty = PluginResult::from_result(CniResult::default(), Version::V1_1_0).expect("fine");
    assert_eq!(empty.raw().get(), r#"{"cniVersion":"1.1.0"}"#);
}
