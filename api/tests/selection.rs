//! Every form of the networks annotation, and what is wrong with the others.

use plexus_api::rows;
use plexus_api::selection::{Bandwidth, PortMapping, Selection, parse};
use proptest::prelude::*;

/// The elements of an annotation of a pod in `ns1`.
fn ok(annotation: &str) -> Vec<Selection> {
    parse(annotation, "ns1").unwrap_or_else(|error| panic!("{annotation}: {error}"))
}

/// The only element, written as JSON with these keys beside its name.
fn element(keys: &str) -> Selection {
    let mut list = ok(&format!(r#"[{{"name": "a", {keys}}}]"#));
    assert_eq!(list.len(), 1);
    list.remove(0)
}

/// The place and the reason of the error for an annotation.
fn wrong(annotation: &str) -> (String, String) {
    let error = parse(annotation, "ns1").expect_err(annotation);
    assert_eq!(error.to_string(), format!("{}: {}", error.place, error.why));
    assert!(!error.to_string().contains('\n'), "{error}");
    (error.place, error.why)
}

/// Asserts that an element with these keys is refused at `place`, with all of `words` in the reason.
fn refused(keys: &str, place: &str, words: &[&str]) {
    let (found, why) = wrong(&format!(r#"[{{"name": "a"}}, {{"name": "b", {keys}}}]"#));
    assert_eq!(found, format!("element 2, {place}"), "{keys}");
    for word in words {
        assert!(why.contains(word), "{keys}: {why:?} lacks {word:?}");
    }
}

/// Namespace, name and interface of each element, as the short form writes them.
fn short(list: &[Selection]) -> Vec<String> {
    let one = |s: &Selection| {
        let interface = s.interface.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
        format!("{}/{}{interface}", s.namespace, s.name)
    };
    list.iter().map(one).collect()
}

#[test]
fn brackets_braces_and_quotes_make_it_json() {
    rows!("K-020");
    assert_eq!(short(&ok("a,b")), ["ns1/a", "ns1/b"]);
    assert_eq!(short(&ok(r#"[{"name":"a"}]"#)), ["ns1/a"]);
    assert_eq!(short(&ok("\n [ {\"name\" : \"a\"} ,\n{\"name\":\"b\"}]\n")), ["ns1/a", "ns1/b"]);
    for not_a_list in [r#"{"name":"a"}"#, r#""a""#] {
        let (place, why) = wrong(not_a_list);
        assert_eq!(place, "annotation");
        assert!(why.contains(&format!("{not_a_list} is not a list")), "{why}");
    }
    // Without one of the three it is a name, whatever it means in JSON.
    assert_eq!(short(&ok("null")), ["ns1/null"]);
    assert_eq!(short(&ok("12")), ["ns1/12"]);
}

#[test]
fn broken_json_is_shown_where_it_breaks() {
    rows!("K-020", "K-023");
    for (annotation, position, before) in [
        (r#"[{"name":"a"},]"#, "line 1 column 15", r#"[{"name":"a"},]"#),
        (r#"[{"name":"a"}"#, "line 1 column 13", r#"[{"name":"a"}"#),
        ("[\n{\"näme\":\"a\"}\n x]", "line 3 column 2", " x"),
        ("[{\"name\":\"é\" \"a-name-that-is-rather-long\"}]", "line 1 column 15", "[{\"name\":\"é\" \""),
        (
            r#"[{"name":"a","key-of-more-than-thirty-characters":}]"#,
            "line 1 column 51",
            r#"of-more-than-thirty-characters":}"#,
        ),
        ("a,[", "line 1 column 1", "a"),
        ("[] a", "line 1 column 4", "[] a"),
    ] {
        let (place, why) = wrong(annotation);
        assert_eq!(place, "annotation");
        let end: String = before.chars().skip(before.chars().count().saturating_sub(30)).collect();
        assert!(why.contains(position), "{annotation}: {why}");
        assert!(why.ends_with(&format!("after {end:?}")), "{annotation}: {why}");
    }
}

#[test]
fn elements_that_are_no_objects_are_errors() {
    rows!("K-026", "K-046");
    for text in ["null", "1", "\"a\"", "[]", "true", r#"[{"name":"a"}]"#] {
        let (place, why) = wrong(&format!(r#"[{{"name":"a"}},{text}]"#));
        assert_eq!((place.as_str(), why), ("element 2", format!("{text} is not an object")));
    }
}

#[test]
fn limits_hold_before_anything_is_read() {
    let deep = format!(r#"[{{"name":"a","cni-args":{{"a":{}1{}}}}}]"#, "[".repeat(5000), "]".repeat(5000));
    let (place, why) = wrong(&deep);
    assert_eq!(place, "annotation");
    assert!(why.contains("nested deeper"), "{why}");
    let (_, why) = wrong(&format!("[{}]", " ".repeat(3 << 20)));
    assert!(why.contains("bytes"), "{why}");
}

#[test]
fn items_are_trimmed_and_keep_their_order() {
    rows!("K-021", "K-027");
    assert_eq!(short(&ok(" a , ns/b,a ")), ["ns1/a", "ns/b", "ns1/a"]);
    assert_eq!(short(&ok("a,\n  b,\n  c\n")), ["ns1/a", "ns1/b", "ns1/c"]);
    assert_eq!(short(&ok("ns / a @ x1")), ["ns/a@x1"]);
    assert_eq!(short(&ok("0-a,a0")), ["ns1/0-a", "ns1/a0"]);
    let selection = &ok("a")[0];
    assert!(selection.ips.is_empty() && selection.cni_args.is_empty() && selection.port_mappings.is_empty());
    assert!(selection.mac.is_none() && selection.default_route.is_none() && selection.bandwidth.is_none());
}

#[test]
fn items_may_name_the_interface() {
    rows!("K-022");
    for (item, expected) in [
        ("a@net_1", "ns1/a@net_1"),
        ("ns/a@eth1.100", "ns/a@eth1.100"),
        ("a@abcdefghijklmno", "ns1/a@abcdefghijklmno"),
        // What is left empty counts as not given.
        ("a@", "ns1/a"),
        ("/a", "ns1/a"),
    ] {
        assert_eq!(short(&ok(item)), [expected]);
    }
    for (interface, words) in [
        ("abcdefghijklmnop", "longer than 15"),
        ("x y", "white space"),
        ("x/y", "'/'"),
        ("..", "directory"),
        ("n%d", "%"),
    ] {
        let (place, why) = wrong(&format!("b,a@{interface}"));
        assert_eq!(place, format!("item 2 \"a@{interface}\""));
        assert!(why.contains(words) && why.contains(&format!("{interface:?}")), "{why}");
    }
}

#[test]
fn items_of_another_form_are_named() {
    rows!("K-007", "K-023", "K-046");
    let long = "a".repeat(254);
    for (item, words) in [
        ("a/b/c", "more than one '/' or '@'"),
        ("a@b@c", "more than one '/' or '@'"),
        ("A", "the name \"A\" must be lower-case"),
        ("-a", "\"-a\""),
        ("a-", "\"a-\""),
        ("a_b", "\"a_b\""),
        ("ä", "\"ä\""),
        ("", "empty"),
        ("@x", "the name \"\""),
        ("ns/", "the name \"\""),
        ("N/a", "the namespace \"N\" must be lower-case"),
        ("n.s/a", "the namespace \"n.s\""),
        ("a.b", "needs the JSON form, as [{\"name\": \"a.b\"}]"),
        ("a..b", "the name \"a..b\""),
        (&long, "at most 253"),
    ] {
        for (annotation, index) in [(format!("{item},x"), 1), (format!("x, {item} ,y"), 2), (format!("x,y,{item}"), 3)]
        {
            let (place, why) = wrong(&annotation);
            let shown = if item.len() > 60 { format!("{}…", "a".repeat(60)) } else { item.to_owned() };
            assert_eq!(place, format!("item {index} {shown:?}"));
            assert!(why.contains(words), "{annotation}: {why}");
        }
    }
}

#[test]
fn lengths_of_names_are_those_of_kubernetes() {
    rows!("K-007", "K-023");
    let name = |length: usize| "a".repeat(length);
    for (annotation, valid) in [
        (name(253), true),
        (name(254), false),
        (format!("{}/a", name(63)), true),
        (format!("{}/a", name(64)), false),
        (format!(r#"[{{"name":"{}.{}"}}]"#, name(126), name(126)), true),
        (format!(r#"[{{"name":"{}.{}"}}]"#, name(127), name(126)), false),
        (format!(r#"[{{"name":"a","namespace":"{}"}}]"#, name(63)), true),
        (format!(r#"[{{"name":"a","namespace":"{}"}}]"#, name(64)), false),
    ] {
        assert_eq!(parse(&annotation, "ns1").is_ok(), valid, "{annotation}");
    }
}

#[test]
fn nothing_asked_for_is_no_error() {
    rows!("K-024");
    for nothing in ["", "  \n", "[]", " [ ]\n"] {
        assert!(ok(nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn unknown_keys_are_ignored() {
    rows!("K-025");
    let list = ok(r#"[{"name":"a","zzz":1,"org.x.y":{"name":"b"},"gateway":["10.0.0.1"],"ipRequest":null}]"#);
    assert_eq!(short(&list), ["ns1/a"]);
}

#[test]
fn the_name_is_required() {
    rows!("K-007", "K-026", "K-046");
    assert_eq!(short(&ok(r#"[{"name":"a.b-1.c"}]"#)), ["ns1/a.b-1.c"]);
    for (element, words) in [
        ("{}", "missing or empty"),
        (r#"{"name":""}"#, "missing or empty"),
        (r#"{"name":null}"#, "missing or empty"),
        (r#"{"name":5}"#, "5 is not a string"),
        (r#"{"name":["a"]}"#, r#"["a"] is not a string"#),
        (r#"{"name":"a/b"}"#, r#""a/b" must be lower-case"#),
        (r#"{"name":"A"}"#, r#""A" must be"#),
        (r#"{"name":"a..b"}"#, r#""a..b" must be"#),
        (r#"{"name":".a"}"#, r#"".a" must be"#),
    ] {
        let (place, why) = wrong(&format!(r#"[{{"name":"x"}},{{"name":"y"}},{element}]"#));
        assert_eq!(place, r#"element 3, key "name""#);
        assert!(why.contains(words), "{element}: {why}");
    }
}

#[test]
fn the_namespace_is_the_pods_unless_given() {
    rows!("K-027");
    let list = ok(
        r#"[{"name":"a"},{"name":"a","namespace":""},{"name":"a","namespace":null},{"name":"a","namespace":"ns2"}]"#,
    );
    assert_eq!(short(&list), ["ns1/a", "ns1/a", "ns1/a", "ns2/a"]);
    refused(r#""namespace": "a/b""#, r#"key "namespace""#, &[r#""a/b""#, "lower-case"]);
    refused(r#""namespace": {}"#, r#"key "namespace""#, &["{} is not a string"]);
}

#[test]
fn ips_are_addresses_with_or_without_prefix() {
    rows!("K-028");
    for ips in
        [vec!["10.2.2.42/24", "2001:db8::5/64"], vec!["1.2.3.4"], vec!["fd00::5", "0.0.0.0/0", "1.2.3.4/32", "::/128"]]
    {
        assert_eq!(element(&format!(r#""ips": {ips:?}"#)).ips, ips);
    }
    assert!(element(r#""ips": null"#).ips.is_empty());
    let key = r#"key "ips""#;
    refused(r#""ips": []"#, key, &["empty", "leave the key out"]);
    refused(r#""ips": "1.2.3.4""#, key, &[r#""1.2.3.4" is not a list"#]);
    refused(r#""ips": ["1.2.3.4", 5]"#, key, &["is not a list of strings"]);
    for bad in
        ["1.2.3.4/33", "x", "::1/129", "1.2.3.4/", "1.2.3.4/+8", "1.2.3.4/8/8", "/8", "", "1.2.3", "fe80::1%eth0"]
    {
        refused(&format!(r#""ips": ["1.2.3.4", {bad:?}]"#), key, &[&format!("{bad:?}"), "10.1.2.3/24"]);
    }
}

#[test]
fn the_mac_has_six_bytes() {
    rows!("K-030", "K-046");
    for mac in ["02:23:45:67:89:01", "02-23-45-67-89-AB", "0223.4567.89ab"] {
        assert_eq!(element(&format!(r#""mac": {mac:?}"#)).mac.as_deref(), Some(mac));
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
        refused(&format!(r#""mac": {bad:?}"#), r#"key "mac""#, &[bad.trim(), "6 bytes like 02:02:02:02:02:02"]);
    }
    refused(r#""mac": 2"#, r#"key "mac""#, &["2 is not a string"]);
}

#[test]
fn the_guid_has_eight_bytes() {
    rows!("K-043");
    for guid in ["24:8a:07:03:00:8d:ae:2f", "24-8a-07-03-00-8d-ae-2f", "248a.0703.008d.ae2f"] {
        assert_eq!(element(&format!(r#""infiniband-guid": {guid:?}"#)).infiniband_guid.as_deref(), Some(guid));
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
fn the_interface_has_a_name_of_the_kernel() {
    rows!("K-032", "K-045");
    assert_eq!(element(r#""interface": "data0""#).interface.as_deref(), Some("data0"));
    assert_eq!(element(r#""interface": """#).interface, None);
    assert_eq!(element(r#""interfaceRequest": "x1""#).interface.as_deref(), Some("x1"));
    assert_eq!(element(r#""interface": "", "interfaceRequest": "x1""#).interface.as_deref(), Some("x1"));
    assert_eq!(element(r#""interfaceRequest": "x1", "interface": "x2""#).interface.as_deref(), Some("x2"));
    for bad in ["abcdefghijklmnop", "a/b", "net%d", "a b"] {
        refused(&format!(r#""interface": {bad:?}"#), r#"key "interface""#, &[bad]);
        refused(&format!(r#""interfaceRequest": {bad:?}"#), r#"key "interfaceRequest""#, &[bad]);
    }
}

#[test]
fn a_device_can_be_named() {
    rows!("K-045");
    let selection = element(r#""interfaceRequest": "x1", "deviceID": "0000:01:00.2""#);
    assert_eq!(selection.device_id.as_deref(), Some("0000:01:00.2"));
    assert_eq!(element(r#""deviceID": """#).device_id, None);
    refused(r#""deviceID": 1"#, r#"key "deviceID""#, &["1 is not a string"]);
}

#[test]
fn port_mappings_are_complete_and_in_range() {
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
    assert_eq!(list, [mapping(1, 65535, "sctp", "10.0.0.1"), mapping(65535, 1, "tcp", "")]);

    refused(r#""portMappings": []"#, r#"key "portMappings""#, &["empty"]);
    refused(r#""portMappings": {"hostPort": 1}"#, r#"key "portMappings""#, &["is not a list of objects"]);
    refused(r#""portMappings": [null]"#, r#"key "portMappings", entry 1"#, &["null is not an object"]);
    for (entry, key, words) in [
        (r#"{"hostPort": 0, "containerPort": 1}"#, "hostPort", "0 is not a port from 1 to 65535"),
        (r#"{"hostPort": 1, "containerPort": 65536}"#, "containerPort", "65536 is not a port"),
        (r#"{"hostPort": "1", "containerPort": 1}"#, "hostPort", r#""1" is not a port"#),
        (r#"{"hostPort": -1, "containerPort": 1}"#, "hostPort", "-1 is not a port"),
        (r#"{"containerPort": 1}"#, "hostPort", "missing"),
        (r#"{"hostPort": 1}"#, "containerPort", "missing"),
        (r#"{"hostPort": 1, "containerPort": 1, "protocol": "icmp"}"#, "protocol", r#""icmp" is none of TCP"#),
        (r#"{"hostPort": 1, "containerPort": 1, "hostIP": "here"}"#, "hostIP", r#""here" is not an IP"#),
    ] {
        let place = format!(r#"key "portMappings", entry 2, key {key:?}"#);
        refused(&format!(r#""portMappings": [{{"hostPort": 1, "containerPort": 2}}, {entry}]"#), &place, &[words]);
    }
}

#[test]
fn port_mappings_have_the_form_of_the_capability() {
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
        (r#""ingressRate": 1, "ingressBurst": 2, "egressRate": 3, "egressBurst": 4"#.to_owned(), [1, 2, 3, 4]),
        // One second's worth, at least a jumbo frame, at most what the plugin takes.
        (r#""egressRate": 1000000"#.to_owned(), [0, 0, 1_000_000, 1_000_000]),
        (r#""egressRate": 1000"#.to_owned(), [0, 0, 1000, 72_000]),
        (r#""ingressRate": 100000000000"#.to_owned(), [100_000_000_000, most, 0, 0]),
        (format!(r#""ingressRate": 1, "ingressBurst": {most}"#), [1, most, 0, 0]),
        (r#""ingressRate": 1, "ingressBurst": 2, "egressRate": null"#.to_owned(), [1, 2, 0, 0]),
    ] {
        let Bandwidth { ingress_rate, ingress_burst, egress_rate, egress_burst } =
            element(&format!(r#""bandwidth": {{{keys}}}"#)).bandwidth.expect(&keys);
        assert_eq!([ingress_rate, ingress_burst, egress_rate, egress_burst], expected, "{keys}");
    }
    assert_eq!(element(r#""bandwidth": null"#).bandwidth, None);

    refused(r#""bandwidth": {}"#, r#"key "bandwidth""#, &["neither", "ingressRate", "egressRate"]);
    refused(r#""bandwidth": 5"#, r#"key "bandwidth""#, &["5 is not an object"]);
    let too_much = format!(r#""egressRate": 1, "egressBurst": {}"#, most + 1);
    for (keys, key, words) in [
        (r#""ingressBurst": 1"#, "ingressBurst", r#"needs "ingressRate""#),
        (r#""ingressRate": 1, "egressBurst": 1"#, "egressBurst", r#"needs "egressRate""#),
        (r#""ingressRate": 0"#, "ingressRate", "0 is not a whole number above 0"),
        (r#""ingressRate": 1, "ingressBurst": 0"#, "ingressBurst", "0 is not"),
        (r#""egressRate": -5"#, "egressRate", "-5 is not"),
        (r#""egressRate": 1.5"#, "egressRate", "1.5 is not"),
        (r#""egressRate": "1M""#, "egressRate", r#""1M" is not"#),
        (&too_much, "egressBurst", "34359738360 is more than the 34359738359 bits"),
    ] {
        refused(&format!(r#""bandwidth": {{{keys}}}"#), &format!(r#"key "bandwidth", key {key:?}"#), &[words]);
    }
}

#[test]
fn cni_args_pass_as_they_are_written() {
    let args = element(r#""cni-args": {"Big": 12345678901234567890123, "o": {"x": [1.0, null]}, "big": 2}"#).cni_args;
    let raw: Vec<_> = args.iter().map(|(key, raw)| (key.as_str(), raw.get())).collect();
    assert_eq!(raw, [("Big", "12345678901234567890123"), ("big", "2"), ("o", r#"{"x": [1.0, null]}"#)]);
    assert!(element(r#""cni-args": null"#).cni_args.is_empty());
    for bad in ["5", "[1]", r#""a""#] {
        refused(&format!(r#""cni-args": {bad}"#), r#"key "cni-args""#, &[bad, "is not an object"]);
    }
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
    assert_eq!(gateways(both), Some(vec!["10.0.0.1".into(), "fd00::1".into()]));
    assert_eq!(gateways(r#""default-route": ["::ffff:10.0.0.1"]"#), Some(vec!["10.0.0.1".into()]));
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
    assert_eq!(element(r#""ipam-claim-reference": "", "ips": ["10.0.0.1"]"#).ips, ["10.0.0.1"]);
    let key = r#"key "ipam-claim-reference""#;
    refused(r#""ipam-claim-reference": "claim-a", "ips": ["10.0.0.1"]"#, key, &[r#""ips""#]);
    refused(r#""ipam-claim-reference": 5"#, key, &["5 is not a string"]);
}

#[test]
fn keys_match_whatever_their_case() {
    rows!("K-047");
    assert_eq!(short(&ok(r#"[{"NAME":"mv","Interface":"x9","Namespace":"ns2"}]"#)), ["ns2/mv@x9"]);
    // The exact key is preferred, wherever it stands.
    assert_eq!(short(&ok(r#"[{"NAME":"b","name":"a","Name":"c"}]"#)), ["ns1/a"]);
    let selection = element(
        r#""PortMappings": [{"HostPort": 1, "CONTAINERPORT": 2, "Protocol": "UDP"}], "Bandwidth": {"IngressRate": 1000000},
           "Default-Route": ["10.0.0.1"], "CNI-args": {"a": 1}, "IPs": ["10.0.0.2"], "MAC": "02:23:45:67:89:01""#,
    );
    assert_eq!((selection.port_mappings[0].container_port, selection.port_mappings[0].protocol.as_str()), (2, "udp"));
    assert_eq!(selection.bandwidth.map(|limits| limits.ingress_rate), Some(1_000_000));
    assert_eq!(selection.default_route.map(|list| list.len()), Some(1));
    assert_eq!((selection.cni_args.len(), selection.ips.len()), (1, 1));
    assert_eq!(selection.mac.as_deref(), Some("02:23:45:67:89:01"));
    // An error names the key as it is documented.
    refused(r#""Mac": "zz""#, r#"key "mac""#, &["zz"]);
}

#[test]
fn long_texts_are_cut_in_messages() {
    let (_, why) = wrong(&format!(r#"[{{"name":["{}\u0000",  "é"]}}]"#, "é".repeat(1000)));
    assert_eq!(why, format!("[\"{}… is not a string", "é".repeat(58)));
    let (_, why) = wrong("[{\"name\":\n  [1,\n\t2]}]");
    assert_eq!(why, "[1, 2] is not a string");
    let sixty = "A".repeat(60);
    assert!(wrong(&sixty).0.ends_with(&format!("{sixty:?}")));
}

/// Text that looks like an annotation more often than chance would have it.
fn annotations() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "@",
        "/",
        "\"",
        "a",
        " ",
        "\n",
        "é",
        "null",
        "-1",
        "1e9",
        "{\"name\":\"a\",",
        "\"ips\":",
        "\"mac\":",
        "\"portMappings\":",
        "\"hostPort\":",
        "\"bandwidth\":",
        "\"ingressRate\":",
        "\"default-route\":",
        "\"cni-args\":",
        "\"10.0.0.1/24\"",
        "\"02:02:02:02:02:02\"",
        "\\u0000",
        "}]",
        "[{",
    ]);
    prop_oneof![any::<String>(), prop::collection::vec(word, 0..24).prop_map(|words| words.concat())]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(annotation in annotations(), namespace in "[a-z]{1,8}") {
        match parse(&annotation, &namespace) {
            Ok(list) => {
                for selection in list {
                    prop_assert!(!selection.name.is_empty() && !selection.namespace.is_empty());
                }
            }
            Err(error) => prop_assert!(!error.place.is_empty() && !error.why.is_empty()),
        }
    }
}
