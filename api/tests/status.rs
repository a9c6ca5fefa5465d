//! The layout of network-status, compared with Multus 4.3.0.

use plexus_api::cni::Dns;
use plexus_api::rows;
use plexus_api::status::{NetworkStatus, render};
use serde_json::value::RawValue;

fn rendered(entries: &[NetworkStatus]) -> String {
    render(entries, usize::MAX).expect("no limit")
}

fn full_entry() -> NetworkStatus {
    NetworkStatus {
        name: "ns1/sriov".into(),
        interface: "net1".into(),
        ips: vec!["10.1.1.101".into(), "fd00::5".into()],
        mac: "c2:b0:57:49:47:f1".into(),
        mtu: Some(9000),
        default: true,
        dns: Dns {
            nameservers: vec!["10.96.0.10".into()],
            domain: "a.local".into(),
            search: vec!["b.local".into()],
            options: vec!["ndots:5".into()],
        },
        device_info: Some(
            RawValue::from_string("{\"type\" :\n\t\"pci\",\"pci\": {}}".into()).expect("JSON"),
        ),
        gateway: vec!["10.1.1.1".into()],
    }
}

fn minimal_entry() -> NetworkStatus {
    NetworkStatus {
        name: "kindnet".into(),
        interface: String::new(),
        ips: vec![],
        mac: String::new(),
        mtu: None,
        default: false,
        dns: Dns::default(),
        device_info: None,
        gateway: vec![],
    }
}

#[test]
fn an_annotation_of_multus_is_read_and_written_back_unchanged() {
    rows!("K-080", "K-081", "K-096");
    for golden in [
        include_str!("data/status-three-networks.json"),
        include_str!("data/status-definitions.json"),
        "[]",
    ] {
        let entries: Vec<NetworkStatus> =
            serde_json::from_str(golden).expect("an annotation of Multus");
        assert_eq!(rendered(&entries), golden);
    }
}

#[test]
fn keys_are_in_the_order_of_multus_and_only_dns_is_written_empty() {
    rows!("K-080", "K-089", "K-090", "K-098");
    let expected = r#"[{
    "name": "ns1/sriov",
    "interface": "net1",
    "ips": [
        "10.1.1.101",
        "fd00::5"
    ],
    "mac": "c2:b0:57:49:47:f1",
    "mtu": 9000,
    "default": true,
    "dns": {
        "nameservers": [
            "10.96.0.10"
        ],
        "domain": "a.local",
        "search": [
            "b.local"
        ],
        "options": [
            "ndots:5"
        ]
    },
    "device-info": {
        "type": "pci",
        "pci": {}
    },
    "gateway": [
        "10.1.1.1"
    ]
},{
    "name": "kindnet",
    "dns": {}
}]"#;
    assert_eq!(rendered(&[full_entry(), minimal_entry()]), expected);
}

#[test]
fn device_info_keeps_its_values_and_key_order() {
    rows!("K-091");
    // Braces, quotes, backslashes and white space in strings stay; numbers keep their digits.
    let device = r#"{"z":"{a: [1,2]}  \"\\","a":[],"b":[ [ 1.50 , -1e400 ] ,true],"c":"\\"}"#;
    let entry = NetworkStatus {
        device_info: Some(RawValue::from_string(device.into()).expect("JSON")),
        ..minimal_entry()
    };
    let expected = r#"[{
    "name": "kindnet",
    "dns": {},
    "device-info": {
        "z": "{a: [1,2]}  \"\\",
        "a": [],
        "b": [
            [
                1.50,
                -1e400
            ],
            true
        ],
        "c": "\\"
    }
}]"#;
    assert_eq!(rendered(&[entry]), expected);
    let null = r#"[{
    "name": "kindnet",
    "dns": {},
    "device-info": null
}]"#;
    let entries: Vec<NetworkStatus> = serde_json::from_str(null).expect("network-status");
    assert_eq!(rendered(&entries), null);
}
