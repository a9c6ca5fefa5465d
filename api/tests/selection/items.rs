//! The short form: items separated by commas.

use plexus_api::selection::parse;
use plexus_api::{quote, rows};

use crate::{ok, short, wrong};

#[test]
fn items_are_trimmed_and_keep_their_order() {
    rows!("K-021", "K-027");
    assert_eq!(short(&ok(" a , ns/b,a ")), ["ns1/a", "ns/b", "ns1/a"]);
    assert_eq!(short(&ok("a,\n  b,\n  c\n")), ["ns1/a", "ns1/b", "ns1/c"]);
    assert_eq!(short(&ok("ns / a @ x1")), ["ns/a@x1"]);
    assert_eq!(short(&ok("0-a,a0")), ["ns1/0-a", "ns1/a0"]);
    let selection = &ok("a")[0];
    assert!(
        selection.ips.is_empty()
            && selection.cni_args.is_empty()
            && selection.port_mappings.is_empty()
    );
    assert!(
        selection.mac.is_none()
            && selection.default_route.is_none()
            && selection.bandwidth.is_none()
    );
}

#[test]
fn items_may_name_the_interface() {
    rows!("K-022");
    for (item, expected) in [
        ("a@net_1", "ns1/a@net_1"),
        ("ns/a@eth1.100", "ns/a@eth1.100"),
        ("a@abcdefghijklmno", "ns1/a@abcdefghijklmno"),
        // An empty part counts as missing.
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
        let (location, reason) = wrong(&format!("b,a@{interface}"));
        assert_eq!(location, format!("item 2 \"a@{interface}\""));
        assert!(
            reason.contains(words) && reason.contains(&format!("{interface:?}")),
            "{reason}"
        );
    }
}

#[test]
fn an_error_names_the_invalid_item() {
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
        ("a.b", "needs the JSON form, such as [{\"name\": \"a.b\"}]"),
        ("a..b", "the name \"a..b\""),
        (&long, "at most 253"),
    ] {
        for (annotation, index) in [
            (format!("{item},x"), 1),
            (format!("x, {item} ,y"), 2),
            (format!("x,y,{item}"), 3),
        ] {
            let (location, reason) = wrong(&annotation);
            assert_eq!(location, format!("item {index} {}", quote(item)));
            assert!(reason.contains(words), "{annotation}: {reason}");
        }
    }
}

#[test]
fn names_have_the_length_limits_of_kubernetes() {
    rows!("K-007", "K-023");
    let name = |length: usize| "a".repeat(length);
    for (annotation, valid) in [
        (name(253), true),
        (name(254), false),
        (format!("{}/a", name(63)), true),
        (format!("{}/a", name(64)), false),
        (
            format!(r#"[{{"name":"{}.{}"}}]"#, name(126), name(126)),
            true,
        ),
        (
            format!(r#"[{{"name":"{}.{}"}}]"#, name(127), name(126)),
            false,
        ),
        (
            format!(r#"[{{"name":"a","namespace":"{}"}}]"#, name(63)),
            true,
        ),
        (
            format!(r#"[{{"name":"a","namespace":"{}"}}]"#, name(64)),
            false,
        ),
    ] {
        assert_eq!(parse(&annotation, "ns1").is_ok(), valid, "{annotation}");
    }
}
