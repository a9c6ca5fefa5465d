//! Network, interface and spelling of keys of an element.

use plexus_api::rows;
use plexus_api::selection::parse;

use crate::{element, ok, refused, short, wrong};

#[test]
fn unknown_keys_are_ignored() {
    rows!("K-025");
    let list = ok(
        r#"[{"name":"a","zzz":1,"org.x.y":{"name":"b"},"gateway":["10.0.0.1"],"ipRequest":null}]"#,
    );
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
        (r#"{"name":"a/b"}"#, r#""a/b" has more than a name"#),
        (r#"{"name":"A"}"#, r#""A" must be"#),
        (r#"{"name":"a..b"}"#, r#""a..b" must be"#),
        (r#"{"name":".a"}"#, r#"".a" must be"#),
    ] {
        let (location, reason) = wrong(&format!(r#"[{{"name":"x"}},{{"name":"y"}},{element}]"#));
        assert_eq!(location, r#"element 3, key "name""#);
        assert!(reason.contains(words), "{element}: {reason}");
    }
}

#[test]
fn the_namespace_defaults_to_the_pods() {
    rows!("K-027");
    let list = ok(
        r#"[{"name":"a"},{"name":"a","namespace":""},{"name":"a","namespace":null},{"name":"a","namespace":"ns2"}]"#,
    );
    assert_eq!(short(&list), ["ns1/a", "ns1/a", "ns1/a", "ns2/a"]);
    refused(
        r#""namespace": "a/b""#,
        r#"key "namespace""#,
        &[r#""a/b""#, "lower-case"],
    );
    refused(
        r#""namespace": {}"#,
        r#"key "namespace""#,
        &["{} is not a string"],
    );
}

#[test]
fn the_interface_name_must_be_valid_in_the_kernel() {
    rows!("K-032", "K-045");
    assert_eq!(
        element(r#""interface": "data0""#).interface.as_deref(),
        Some("data0")
    );
    assert_eq!(element(r#""interface": """#).interface, None);
    assert_eq!(
        element(r#""interfaceRequest": "x1""#).interface.as_deref(),
        Some("x1")
    );
    assert_eq!(
        element(r#""interface": "", "interfaceRequest": "x1""#)
            .interface
            .as_deref(),
        Some("x1")
    );
    assert_eq!(
        element(r#""interfaceRequest": "x1", "interface": "x2""#)
            .interface
            .as_deref(),
        Some("x2")
    );
    for bad in ["abcdefghijklmnop", "a/b", "net%d", "a b"] {
        refused(
            &format!(r#""interface": {bad:?}"#),
            r#"key "interface""#,
            &[bad],
        );
        refused(
            &format!(r#""interfaceRequest": {bad:?}"#),
            r#"key "interfaceRequest""#,
            &[bad],
        );
    }
}

#[test]
fn keys_match_in_any_case() {
    rows!("K-047");
    assert_eq!(
        short(&ok(r#"[{"NAME":"mv","Interface":"x9","Namespace":"ns2"}]"#)),
        ["ns2/mv@x9"]
    );
    for (text, name) in [
        (r#"[{"NAME":"b","name":"a","Name":"c"}]"#, "ns1/c"),
        (r#"[{"name":"a","name":"b"}]"#, "ns1/b"),
        (r#"[{"name":"a","Name":null}]"#, "ns1/a"),
        ("[{\"name\":\"a\",\"name\u{17f}pace\":\"b\"}]", "b/a"),
        (r#"[{"name":"a","name\u017fpace":"b"}]"#, "b/a"),
    ] {
        assert_eq!(short(&ok(text)), [name], "{text}");
    }
    let selection = element(
        r#""PortMappings": [{"HostPort": 1, "CONTAINERPORT": 2, "Protocol": "UDP"}], "Bandwidth": {"IngressRate": 1000000},
           "Default-Route": ["10.0.0.1"], "CNI-args": {"a": 1}, "IPs": ["10.0.0.2"], "MAC": "02:23:45:67:89:01""#,
    );
    assert_eq!(
        (
            selection.port_mappings[0].container_port,
            selection.port_mappings[0].protocol.as_str()
        ),
        (2, "udp")
    );
    assert_eq!(
        selection.bandwidth.map(|limits| limits.ingress_rate),
        Some(1_000_000)
    );
    assert_eq!(selection.default_route.map(|list| list.len()), Some(1));
    assert_eq!((selection.cni_args.len(), selection.ips.len()), (1, 1));
    assert_eq!(selection.mac.as_deref(), Some("02:23:45:67:89:01"));
    // Errors name the documented key.
    refused(r#""Mac": "zz""#, r#"key "mac""#, &["zz"]);
}

#[test]
fn a_name_in_the_short_form_is_refused_with_the_keys_to_use() {
    for (name, keys) in [
        ("infra/lan", r#"use "name": "lan", "namespace": "infra""#),
        ("lan@net5", r#"use "name": "lan", "interface": "net5""#),
        (
            "infra/lan@net5",
            r#"use "name": "lan", "namespace": "infra", "interface": "net5""#,
        ),
    ] {
        let text = format!(r#"[{{"name": {name:?}}}]"#);
        let error = parse(&text, "ns").expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(keys), "{error}");
    }
}
