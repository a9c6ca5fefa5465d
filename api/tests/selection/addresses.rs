//! Addresses, devices and routes of an element.

use plexus_api::rows;
use plexus_api::selection::{DEFAULT_NETWORK, parse, parse_annotation};

use crate::{element, refused};

#[test]
fn ips_are_addresses_with_or_without_prefix() {
    rows!("K-028");
    for ips in [
        vec!["10.2.2.42/24", "2001:db8::5/64"],
        vec!["1.2.3.4"],
        vec!["fd00::5", "0.0.0.0/0", "1.2.3.4/32", "::/128"],
    ] {
        assert_eq!(element(&format!(r#""ips": {ips:?}"#)).ips, ips);
    }
    for none in ["null", "[]"] {
        assert!(element(&format!(r#""ips": {none}"#)).ips.is_empty());
    }
    let key = r#"key "ips""#;
    refused(r#""ips": "1.2.3.4""#, key, &[r#""1.2.3.4" is not a list"#]);
    refused(
        r#""ips": ["1.2.3.4", 5]"#,
        key,
        &["is not a list of strings"],
    );
    for bad in [
        "1.2.3.4/33",
        "x",
        "::1/129",
        "1.2.3.4/",
        "1.2.3.4/+8",
        "1.2.3.4/8/8",
        "/8",
        "",
        "1.2.3",
        "fe80::1%eth0",
    ] {
        refused(
            &format!(r#""ips": ["1.2.3.4", {bad:?}]"#),
            key,
            &[&format!("{bad:?}"), "10.1.2.3/24"],
        );
    }
}

#[test]
fn the_mac_has_six_bytes() {
    rows!("K-030", "K-046");
    for mac in ["02:23:45:67:89:01", "02-23-45-67-89-AB", "0223.4567.89ab"] {
        assert_eq!(
            element(&format!(r#""mac": {mac:?}"#)).mac.as_deref(),
            Some(mac)
        );
    }
    assert_eq!(element(r#""mac": """#).mac, None);
    for bad in [
        "02:23:45:67:89",
        "02:23:45:67:89:01:02:03",
        "zz:23:45:67:89:01",
        "02:23-45:67:89:01",
        "2:23:45:67:89:01",
        "022:3:45:67:89:01",
        "022345678901",
        "02.23.45.67.89.01",
        "0223:4567:89ab",
        "02:23:45:67:89:01:",
        " 02:23:45:67:89:01",
    ] {
        refused(
            &format!(r#""mac": {bad:?}"#),
            r#"key "mac""#,
            &[bad.trim(), "6 bytes like 02:02:02:02:02:02"],
        );
    }
    refused(r#""mac": 2"#, r#"key "mac""#, &["2 is not a string"]);
}

#[test]
fn the_guid_has_eight_bytes() {
    rows!("K-043");
    for guid in [
        "24:8a:07:03:00:8d:ae:2f",
        "24-8a-07-03-00-8d-ae-2f",
        "248a.0703.008d.ae2f",
    ] {
        assert_eq!(
            element(&format!(r#""infiniband-guid": {guid:?}"#))
                .infiniband_guid
                .as_deref(),
            Some(guid)
        );
    }
    let twenty = ["24"; 20].join(":");
    for bad in ["24:8a:07:03:00:8d", &twenty, "garbage"] {
        refused(
            &format!(r#""infiniband-guid": {bad:?}"#),
            r#"key "infiniband-guid""#,
            &[bad, "8 bytes like 02:02:02:02:02:02:02:02"],
        );
    }
}

#[test]
fn a_device_can_be_requested_by_id() {
    rows!("K-045");
    let selection = element(r#""interfaceRequest": "x1", "deviceID": "0000:01:00.2""#);
    assert_eq!(selection.device_id.as_deref(), Some("0000:01:00.2"));
    assert_eq!(element(r#""deviceID": """#).device_id, None);
    refused(
        r#""deviceID": 1"#,
        r#"key "deviceID""#,
        &["1 is not a string"],
    );
}

#[test]
fn default_route_is_a_list_of_gateways() {
    rows!("K-040");
    let gateways = |keys: &str| {
        let list = element(keys).default_route?;
        Some(list.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(gateways(r#""mac": null"#), None);
    assert_eq!(gateways(r#""default-route": null"#), None);
    assert_eq!(gateways(r#""default-route": []"#), Some(vec![]));
    let both = r#""default-route": ["10.0.0.1", "fd00::1"]"#;
    assert_eq!(
        gateways(both),
        Some(vec!["10.0.0.1".into(), "fd00::1".into()])
    );
    assert_eq!(
        gateways(r#""default-route": ["::ffff:10.0.0.1"]"#),
        Some(vec!["10.0.0.1".into()])
    );
    let key = r#"key "default-route""#;
    for bad in ["gw.example.org", "10.0.0.1/24", ""] {
        refused(
            &format!(r#""default-route": ["10.0.0.1", {bad:?}]"#),
            key,
            &[&format!("{bad:?} is not an IP address")],
        );
    }
    refused(r#""default-route": "10.0.0.1""#, key, &["is not a list"]);
}

#[test]
fn an_ipam_claim_excludes_ips() {
    rows!("K-044");
    assert_eq!(element(r#""ipam-claim-reference": "claim-a""#).name, "a");
    assert_eq!(
        element(r#""ipam-claim-reference": "", "ips": ["10.0.0.1"]"#).ips,
        ["10.0.0.1"]
    );
    let key = r#"key "ipam-claim-reference""#;
    refused(
        r#""ipam-claim-reference": "claim-a", "ips": ["10.0.0.1"]"#,
        key,
        &[r#""ips""#],
    );
    refused(r#""ipam-claim-reference": 5"#, key, &["5 is not a string"]);
}

#[test]
fn the_default_network_may_have_an_ipam_claim_and_ips() {
    // KubeVirt requests the addresses of a virtual machine in its primary network like this.
    let text = r#"[{
        "name": "default", "namespace": "ovn-kubernetes", "ips": ["192.168.1.10", "fd20:1234::200"],
        "mac": "02:03:04:05:06:07", "ipam-claim-reference": "vm1.podnet"
    }]"#;
    let list = parse_annotation(DEFAULT_NETWORK, text, "ns").expect("both");
    assert_eq!(list[0].ips, ["192.168.1.10", "fd20:1234::200"]);
    assert_eq!(list[0].mac.as_deref(), Some("02:03:04:05:06:07"));
    parse(text, "ns").expect_err("a selected network");
    let invalid = text.replace("\"vm1.podnet\"", "5");
    let error = parse_annotation(DEFAULT_NETWORK, &invalid, "ns").expect_err("not a string");
    assert!(error.to_string().contains("5 is not a string"), "{error}");
}

#[test]
fn a_gateway_must_be_an_address_that_a_router_can_have() {
    for gateway in [
        "0.0.0.0",
        "::",
        "127.0.0.1",
        "::1",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:0.0.0.0",
    ] {
        let text = format!(r#"[{{"name": "a", "default-route": [{gateway:?}]}}]"#);
        let error = parse(&text, "ns").expect_err(gateway).to_string();
        assert!(
            error.contains(gateway) && error.contains("is no gateway"),
            "{error}"
        );
    }
    let own = r#"[{"name": "a", "ips": ["10.0.0.5/24"], "default-route": ["10.0.0.5"]}]"#;
    let error = parse(own, "ns").expect_err("its own address").to_string();
    assert!(error.contains("its own address"), "{error}");
    let link_local = r#"[{"name": "a", "default-route": ["169.254.1.1", "fe80::1"]}]"#;
    assert!(parse(link_local, "ns").is_ok());
}

#[test]
fn blanks_in_an_address_are_shown() {
    let text = r#"[{"name": "a", "ips": [" 10.1.1.10/24 "]}]"#;
    let error = parse(text, "ns").expect_err("blanks").to_string();
    assert!(error.contains("\" 10.1.1.10/24 \""), "{error}");
}
