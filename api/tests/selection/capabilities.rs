//! Port mappings, bandwidth and arguments of an element.

use plexus_api::rows;
use plexus_api::selection::{Bandwidth, PortMapping};

use crate::{element, refused};

#[test]
fn port_mappings_need_valid_ports() {
    rows!("K-035");
    let list = element(
        r#""portMappings": [{"hostPort": 1, "containerPort": 65535, "protocol": "SCTP", "hostIP": "10.0.0.1"},
                            {"hostPort": 65535, "containerPort": 1, "protocol": null, "hostIP": ""}]"#,
    )
    .port_mappings;
    let mapping = |host_port, container_port, protocol: &str, host_ip: &str| PortMapping {
        host_port,
        container_port,
        protocol: protocol.into(),
        host_ip: host_ip.into(),
    };
    assert_eq!(
        list,
        [
            mapping(1, 65535, "sctp", "10.0.0.1"),
            mapping(65535, 1, "tcp", "")
        ]
    );

    assert!(
        element(r#""portMappings": []"#).port_mappings.is_empty(),
        "as with Multus"
    );
    refused(
        r#""portMappings": {"hostPort": 1}"#,
        r#"key "portMappings""#,
        &["is not a list of objects"],
    );
    refused(
        r#""portMappings": [null]"#,
        r#"key "portMappings", entry 1"#,
        &["null is not an object"],
    );
    for (entry, key, words) in [
        (
            r#"{"hostPort": 0, "containerPort": 1}"#,
            "hostPort",
            "0 is not a port from 1 to 65535",
        ),
        (
            r#"{"hostPort": 1, "containerPort": 65536}"#,
            "containerPort",
            "65536 is not a port",
        ),
        (
            r#"{"hostPort": "1", "containerPort": 1}"#,
            "hostPort",
            r#""1" is not a port"#,
        ),
        (
            r#"{"hostPort": -1, "containerPort": 1}"#,
            "hostPort",
            "-1 is not a port",
        ),
        (r#"{"containerPort": 1}"#, "hostPort", "missing"),
        (r#"{"hostPort": 1}"#, "containerPort", "missing"),
        (
            r#"{"hostPort": 1, "containerPort": 1, "protocol": "icmp"}"#,
            "protocol",
            r#""icmp" is not TCP"#,
        ),
        (
            r#"{"hostPort": 1, "containerPort": 1, "hostIP": "here"}"#,
            "hostIP",
            r#""here" is not an IP"#,
        ),
    ] {
        let location = format!(r#"key "portMappings", entry 2, key {key:?}"#);
        refused(
            &format!(r#""portMappings": [{{"hostPort": 1, "containerPort": 2}}, {entry}]"#),
            &location,
            &[words],
        );
    }
}

#[test]
fn port_mappings_have_the_format_of_the_capability() {
    rows!("K-036");
    let list = element(
        r#""portMappings": [{"hostPort": 1, "containerPort": 2, "protocol": "UDP"}, {"hostPort": 3, "containerPort": 4},
                            {"hostPort": 5, "containerPort": 6, "protocol": "Tcp", "hostIP": "::1"}]"#,
    )
    .port_mappings;
    assert_eq!(
        serde_json::to_string(&list).expect("JSON"),
        concat!(
            r#"[{"hostPort":1,"containerPort":2,"protocol":"udp"},{"hostPort":3,"containerPort":4,"protocol":"tcp"},"#,
            r#"{"hostPort":5,"containerPort":6,"protocol":"tcp","hostIP":"::1"}]"#
        )
    );
}

#[test]
fn bandwidth_has_a_burst_for_each_rate() {
    rows!("K-038");
    let most = u64::from(u32::MAX) * 8 - 1;
    for (keys, expected) in [
        (
            r#""ingressRate": 1, "ingressBurst": 2, "egressRate": 3, "egressBurst": 4"#.to_owned(),
            [1, 2, 3, 4],
        ),
        // One second of the rate, at least a jumbo frame, at most what the plugin accepts.
        (
            r#""egressRate": 1000000"#.to_owned(),
            [0, 0, 1_000_000, 1_000_000],
        ),
        (r#""egressRate": 1000"#.to_owned(), [0, 0, 1000, 72_000]),
        (
            r#""ingressRate": 100000000000"#.to_owned(),
            [100_000_000_000, most, 0, 0],
        ),
        (
            format!(r#""ingressRate": 1, "ingressBurst": {most}"#),
            [1, most, 0, 0],
        ),
        (
            r#""ingressRate": 1, "ingressBurst": 2, "egressRate": null"#.to_owned(),
            [1, 2, 0, 0],
        ),
    ] {
        let Bandwidth {
            ingress_rate,
            ingress_burst,
            egress_rate,
            egress_burst,
        } = element(&format!(r#""bandwidth": {{{keys}}}"#))
            .bandwidth
            .expect(&keys);
        assert_eq!(
            [ingress_rate, ingress_burst, egress_rate, egress_burst],
            expected,
            "{keys}"
        );
    }
    assert_eq!(element(r#""bandwidth": null"#).bandwidth, None);

    assert_eq!(element(r#""bandwidth": {}"#).bandwidth, None);

    refused(
        r#""bandwidth": {"x": 1}"#,
        r#"key "bandwidth""#,
        &["neither", "ingressRate", "egressRate"],
    );
    refused(
        r#""bandwidth": 5"#,
        r#"key "bandwidth""#,
        &["5 is not an object"],
    );
    let too_much = format!(r#""egressRate": 1, "egressBurst": {}"#, most + 1);
    for (keys, key, words) in [
        (
            r#""ingressBurst": 1"#,
            "ingressBurst",
            r#"needs "ingressRate""#,
        ),
        (
            r#""ingressRate": 1, "egressBurst": 1"#,
            "egressBurst",
            r#"needs "egressRate""#,
        ),
        (
            r#""ingressRate": 0"#,
            "ingressRate",
            "0 is not a whole number above 0",
        ),
        (
            r#""ingressRate": 1, "ingressBurst": 0"#,
            "ingressBurst",
            "0 is not",
        ),
        (r#""egressRate": -5"#, "egressRate", "-5 is not"),
        (r#""egressRate": 1.5"#, "egressRate", "1.5 is not"),
        (r#""egressRate": "1M""#, "egressRate", r#""1M" is not"#),
        (
            &too_much,
            "egressBurst",
            "34359738360 is more than the 34359738359 bits",
        ),
    ] {
        refused(
            &format!(r#""bandwidth": {{{keys}}}"#),
            &format!(r#"key "bandwidth", key {key:?}"#),
            &[words],
        );
    }
}

#[test]
fn cni_args_are_kept_as_written() {
    let args = element(
        r#""cni-args": {"Big": 12345678901234567890123, "o": {"x": [1.0, null]}, "big": 2}"#,
    )
    .cni_args;
    let raw: Vec<_> = args
        .iter()
        .map(|(key, raw)| (key.as_str(), raw.get()))
        .collect();
    assert_eq!(
        raw,
        [
            ("Big", "12345678901234567890123"),
            ("big", "2"),
            ("o", r#"{"x": [1.0, null]}"#)
        ]
    );
    assert!(element(r#""cni-args": null"#).cni_args.is_empty());
    for bad in ["5", "[1]", r#""a""#] {
        refused(
            &format!(r#""cni-args": {bad}"#),
            r#"key "cni-args""#,
            &[bad, "is not an object"],
        );
    }
}
