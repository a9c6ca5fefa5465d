use plexus_api::cni::CniResult;
use plexus_api::rows;
use plexus_api::status::{NetworkStatus, render};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::entries;

fn result(json: serde_json::Value) -> CniResult {
    serde_json::from_value(json).expect("a result")
}

/// The entries of an attachment `ns1/n` on `net1`.
fn secondary(json: serde_json::Value) -> Vec<NetworkStatus> {
    entries("ns1/n", "net1", false, &result(json), None).collect()
}

/// The entries of the default network `cbr0` on `eth0`.
fn default(json: serde_json::Value) -> Vec<NetworkStatus> {
    entries("cbr0", "eth0", true, &result(json), None).collect()
}

fn rendered(entries: &[NetworkStatus]) -> String {
    render(entries, usize::MAX).expect("no limit")
}

/// The interface and the addresses of each entry.
fn interfaces_and_ips(entries: &[NetworkStatus]) -> Vec<(&str, Vec<&str>)> {
    entries
        .iter()
        .map(|entry| {
            (
                entry.interface.as_str(),
                entry.ips.iter().map(String::as_str).collect(),
            )
        })
        .collect()
}

fn defaults(entries: &[NetworkStatus]) -> Vec<&str> {
    entries
        .iter()
        .filter(|entry| entry.default)
        .map(|entry| entry.interface.as_str())
        .collect()
}

#[test]
fn the_status_of_three_networks_equals_that_of_multus() {
    rows!("K-080", "K-081", "K-082", "K-083", "K-085", "K-096");
    // Given results of a default network on disk and of two definitions.
    let cbr0 = json!({
        "interfaces": [
            {"name": "cni0", "mac": "aa:aa:aa:aa:aa:01"},
            {"name": "veth1", "mac": "aa:aa:aa:aa:aa:02"},
            {"name": "eth0", "mac": "aa:aa:aa:aa:aa:03", "sandbox": "/run/netns/a"}
        ],
        "ips": [{"interface": 2, "address": "10.244.0.5/24", "gateway": "10.244.0.1"}],
        "routes": [{"dst": "10.244.0.0/16", "gw": "10.244.0.9"}, {"dst": "0.0.0.0/0", "gw": "10.244.0.1"}],
        "dns": {"nameservers": ["10.96.0.10"], "search": ["x.local"]}
    });
    let macvlan = |name| {
        json!({
            "interfaces": [{"name": name, "mac": "aa:aa:aa:aa:aa:04", "sandbox": "/run/netns/a"}],
            "ips": [{"interface": 0, "address": "10.1.1.101/24"}]
        })
    };
    // When the entries of all three are rendered.
    let mut list = default(cbr0);
    list.extend(entries(
        "ns1/mv",
        "net1",
        false,
        &result(macvlan("net1")),
        None,
    ));
    list.extend(entries(
        "ns1/lst",
        "net2",
        false,
        &result(macvlan("net2")),
        None,
    ));
    // Then the text is what Multus wrote for the same results.
    assert_eq!(
        rendered(&list),
        include_str!("../../../../api/tests/data/status-three-networks.json")
    );
}

#[test]
fn entries_are_for_interfaces_in_the_sandbox() {
    rows!("K-083");
    let list = secondary(json!({
        "interfaces": [
            {"name": "veth1", "mac": "aa:aa:aa:aa:aa:01", "mtu": 1},
            {"name": "net1", "mac": "aa:aa:aa:aa:aa:02", "sandbox": "/run/netns/a"},
            {"name": "net2", "mac": "aa:aa:aa:aa:aa:03", "sandbox": "/run/netns/a"}
        ]
    }));
    assert_eq!(
        (list[0].interface.as_str(), list[0].mac.as_str()),
        ("net1", "aa:aa:aa:aa:aa:02")
    );
    assert_eq!(
        (list[1].interface.as_str(), list[1].mac.as_str()),
        ("net2", "aa:aa:aa:aa:aa:03")
    );
    assert_eq!(list.len(), 2);

    // The interface name in the result takes precedence. Results before version 0.3.0 have no
    // interfaces.
    let named = json!({"interfaces": [{"name": "data0", "sandbox": "/run/netns/a"}]});
    assert_eq!(interfaces_and_ips(&secondary(named)), [("data0", vec![])]);
    let old = secondary(json!({"ips": [{"address": "10.0.0.1/24"}, {"address": "fd00::1/64"}]}));
    assert_eq!(
        interfaces_and_ips(&old),
        [("net1", vec!["10.0.0.1", "fd00::1"])]
    );
    assert_eq!(old[0].mac, "");
}

#[test]
fn addresses_belong_to_the_interface_of_their_index() {
    rows!("K-084", "K-085");
    let host = json!({"name": "veth1"});
    let net1 = json!({"name": "net1", "sandbox": "/run/netns/a"});
    let net2 = json!({"name": "net2", "sandbox": "/run/netns/a"});
    let ip = |last: u8, interface: Option<usize>| json!({"address": format!("10.1.2.{last}/24"), "interface": interface});
    for (interfaces, ips, expected) in [
        (
            json!([host, net1]),
            json!([ip(1, Some(0)), ip(2, Some(1))]),
            vec![("net1", vec!["10.1.2.2"])],
        ),
        // Without an interface in the sandbox: the addresses without an index, or all addresses if
        // the result has at most one interface.
        (
            json!([]),
            json!([ip(1, None), ip(2, Some(7))]),
            vec![("net1", vec!["10.1.2.1", "10.1.2.2"])],
        ),
        (
            json!([host]),
            json!([ip(1, None), ip(2, Some(0))]),
            vec![("net1", vec!["10.1.2.1", "10.1.2.2"])],
        ),
        (
            json!([host, host]),
            json!([ip(1, None), ip(2, Some(0))]),
            vec![("net1", vec!["10.1.2.1"])],
        ),
        // The only interface has all addresses.
        (
            json!([net1]),
            json!([ip(1, None), ip(2, Some(7))]),
            vec![("net1", vec!["10.1.2.1", "10.1.2.2"])],
        ),
        // The last interface has the addresses without an index.
        (
            json!([net1, net2, host]),
            json!([
                ip(1, Some(0)),
                ip(2, None),
                ip(3, Some(1)),
                ip(4, Some(2)),
                ip(5, Some(7))
            ]),
            vec![
                ("net1", vec!["10.1.2.1"]),
                ("net2", vec!["10.1.2.2", "10.1.2.3"]),
            ],
        ),
    ] {
        let list = secondary(json!({"interfaces": interfaces, "ips": ips}));
        assert_eq!(interfaces_and_ips(&list), expected, "{interfaces} {ips}");
    }
    let list =
        secondary(json!({"ips": [{"address": "10.1.2.3/24"}, {"address": "2001:db8::5/64"}]}));
    assert_eq!(list[0].ips, ["10.1.2.3", "2001:db8::5"]);
}

#[test]
fn each_of_several_interfaces_has_an_entry() {
    rows!("K-081", "K-086", "K-089");
    // Given a default network with two interfaces in the sandbox, the second one with the gateway.
    let list = default(json!({
        "interfaces": [
            {"name": "br0"},
            {"name": "eth0", "mac": "aa:aa:aa:aa:aa:01", "mtu": 1400, "sandbox": "/run/netns/a"},
            {"name": "eth1", "mac": "aa:aa:aa:aa:aa:02", "mtu": 1500, "sandbox": "/run/netns/a"}
        ],
        "ips": [
            {"address": "10.0.0.2/24", "interface": 1},
            {"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 2},
            {"address": "fd00::9/64"}
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00::1"}]
    }));
    // Then the text is that of Multus, with the gateway of the IPv4 address as well.
    let expected = r#"[{
    "name": "cbr0",
    "interface": "eth0",
    "ips": [
        "10.0.0.2"
    ],
    "mac": "aa:aa:aa:aa:aa:01",
    "mtu": 1400,
    "dns": {},
    "gateway": [
        "10.1.0.1",
        "fd00::1"
    ]
},{
    "name": "cbr0",
    "interface": "eth1",
    "ips": [
        "10.1.0.2",
        "fd00::9"
    ],
    "mac": "aa:aa:aa:aa:aa:02",
    "mtu": 1500,
    "default": true,
    "dns": {},
    "gateway": [
        "10.1.0.1",
        "fd00::1"
    ]
}]"#;
    assert_eq!(rendered(&list), expected);
}

#[test]
fn exactly_one_entry_of_the_default_network_is_marked() {
    rows!("K-081", "K-086");
    let host = json!({"name": "veth1"});
    let eth0 = json!({"name": "eth0", "sandbox": "/run/netns/a"});
    let eth1 = json!({"name": "eth1", "sandbox": "/run/netns/a"});
    let ip = |interface: Option<usize>| json!({"address": "10.0.0.2/24", "gateway": "10.0.0.1", "interface": interface});
    let without_gateway =
        |interface: usize| json!({"address": "10.0.0.3/24", "interface": interface});
    for (interfaces, ips, expected) in [
        (json!([]), json!([]), "eth0"),
        (json!([host, host]), json!([ip(Some(0))]), "eth0"),
        (json!([eth0]), json!([]), "eth0"),
        (json!([eth0, eth1]), json!([]), "eth0"),
        (
            json!([host, eth0, eth1]),
            json!([without_gateway(2)]),
            "eth0",
        ),
        (
            json!([host, eth0, eth1]),
            json!([without_gateway(1), ip(Some(2)), ip(Some(1))]),
            "eth1",
        ),
        // Addresses of the host, without an index, or with an invalid index have no effect.
        (
            json!([host, eth0, eth1]),
            json!([ip(Some(0)), ip(None), ip(Some(9)), ip(Some(2))]),
            "eth1",
        ),
        (json!([host, eth0, eth1]), json!([ip(Some(0))]), "eth0"),
    ] {
        let json = json!({"interfaces": interfaces, "ips": ips});
        assert_eq!(defaults(&default(json.clone())), [expected], "{json}");
        assert_eq!(defaults(&secondary(json.clone())), [""; 0], "{json}");
    }
}

#[test]
fn an_empty_result_has_a_minimal_entry() {
    rows!("K-087", "K-090");
    assert_eq!(
        rendered(&secondary(json!({}))),
        "[{\n    \"name\": \"ns1/n\",\n    \"interface\": \"net1\",\n    \"dns\": {}\n}]"
    );
    // Interfaces on the host do not count.
    let host_only = secondary(
        json!({"interfaces": [{"name": "veth1", "mac": "aa:aa:aa:aa:aa:01", "mtu": 9000}]}),
    );
    assert_eq!(rendered(&host_only), rendered(&secondary(json!({}))));
}

#[test]
fn gateways_are_those_of_default_routes() {
    rows!("K-088");
    let list = secondary(json!({"routes": [
        {"dst": "0.0.0.0/0"},
        {"dst": "0.0.0.0/1", "gw": "10.0.0.1"},
        {"dst": "0.0.0.0/0", "gw": "10.0.0.2"},
        {"dst": "10.0.0.0/8", "gw": "10.0.0.3"},
        {"dst": "::/0", "gw": "fd00::1"},
        {"dst": "::/1", "gw": "fd00::2"}
    ]}));
    assert_eq!(list[0].gateway, ["10.0.0.2", "fd00::1"]);
}

#[test]
fn the_mtu_is_shown_if_the_plugin_reports_one() {
    rows!("K-089");
    for (mtu, expected) in [(9000, Some(9000)), (1, Some(1)), (0, None)] {
        let list = secondary(
            json!({"interfaces": [{"name": "net1", "mtu": mtu, "sandbox": "/run/netns/a"}]}),
        );
        assert_eq!(list[0].mtu, expected);
    }
}

#[test]
fn every_entry_has_dns_and_device() {
    rows!("K-086", "K-090", "K-091");
    let dns = json!({"nameservers": ["10.96.0.10"], "domain": "a", "search": ["b"], "options": ["ndots:5"]});
    let device: Box<RawValue> =
        to_raw_value(&json!({"type": "pci", "pci": {"pci-address": "0000:03:02.0"}}))
            .expect("JSON");
    let interfaces = json!([{"name": "net1", "sandbox": "/a"}, {"name": "net2", "sandbox": "/a"}]);
    for (interfaces, count) in [(interfaces, 2), (json!([]), 1)] {
        let result = result(json!({"interfaces": interfaces, "dns": dns}));
        let list: Vec<_> = entries("ns1/n", "net1", false, &result, Some(device.clone())).collect();
        assert_eq!(list.len(), count);
        for entry in list {
            assert_eq!(serde_json::to_value(&entry.dns).expect("JSON"), dns);
            assert_eq!(
                entry.device_info.map(|raw| raw.get().to_owned()).as_deref(),
                Some(device.get())
            );
        }
    }
}

#[test]
fn numbers_of_the_aws_plugin_are_neither_macs_nor_interfaces() {
    rows!("K-083");
    for dummy_sandbox in ["0", "/run/netns/a"] {
        let entries = default(json!({
            "interfaces": [
                {"name": "eni7f3c"},
                {"name": "eth0", "mac": "254", "sandbox": "/run/netns/a"},
                {"name": "dummy7f3c", "mac": "0", "sandbox": dummy_sandbox},
            ],
            "ips": [{"interface": 1, "address": "10.0.0.5/32"}],
        }));
        assert_eq!(
            interfaces_and_ips(&entries),
            [("eth0", vec!["10.0.0.5"])],
            "{dummy_sandbox}"
        );
        assert_eq!((entries[0].mac.as_str(), entries[0].default), ("", true));
    }
    let infiniband = "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:0a:0b:0c";
    for mac in ["02:00:00:00:00:01", "0A-00-00-00-00-01", infiniband] {
        let entries = secondary(json!({
            "interfaces": [{"name": "x", "mac": mac, "sandbox": "/run/netns/a"}],
        }));
        assert_eq!(entries[0].mac, mac);
    }
}

#[test]
fn a_default_route_without_a_gateway_goes_through_that_of_the_address() {
    rows!("K-088");
    // As of host-local with `"routes": [{"dst": "0.0.0.0/0"}]`.
    let entries = default(json!({
        "interfaces": [{"name": "eth0", "sandbox": "/run/netns/a"}],
        "ips": [
            {"interface": 0, "address": "fd00::5/64"},
            {"interface": 0, "address": "10.0.0.5/24", "gateway": "10.0.0.1"},
            {"interface": 0, "address": "10.0.1.5/24", "gateway": "10.0.1.1"},
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "10.96.0.0/12"}],
    }));
    assert_eq!(entries[0].gateway, ["10.0.0.1"]);
}

#[test]
fn entries_beyond_the_limit_are_not_rendered() {
    rows!("K-097");
    let list = secondary(json!({"interfaces": [
        {"name": "net1", "sandbox": "/run/netns/a"}, {"name": "net2", "sandbox": "/run/netns/a"}
    ]}));
    let text = rendered(&list);
    assert_eq!(render(&list, text.len()).as_ref(), Some(&text));
    assert_eq!(render(&list, text.len() - 1), None);
    let endless = std::iter::repeat(&list[0]);
    assert_eq!(render(endless, 256 << 10), None);
}
