//! The JSON form, the short form, and text that is neither.

use plexus_api::rows;
use plexus_api::selection::{MAX_ANNOTATION, MAX_ELEMENTS, parse};
use proptest::prelude::*;

use crate::{ok, short, wrong};

#[test]
fn brackets_braces_and_quotes_select_the_json_form() {
    rows!("K-020");
    assert_eq!(short(&ok("a,b")), ["ns1/a", "ns1/b"]);
    assert_eq!(short(&ok(r#"[{"name":"a"}]"#)), ["ns1/a"]);
    assert_eq!(
        short(&ok("\n [ {\"name\" : \"a\"} ,\n{\"name\":\"b\"}]\n")),
        ["ns1/a", "ns1/b"]
    );
    for not_a_list in [r#"{"name":"a"}"#, r#""a""#] {
        let (location, reason) = wrong(not_a_list);
        assert_eq!(location, "annotation");
        assert!(
            reason.contains(&format!("{not_a_list} is not a list")),
            "{reason}"
        );
    }
    // Without one of these characters, JSON literals are names.
    assert_eq!(short(&ok("null")), ["ns1/null"]);
    assert_eq!(short(&ok("12")), ["ns1/12"]);
}

#[test]
fn the_number_of_elements_is_limited_before_any_is_read() {
    let short_form = |count: usize| vec!["a"; count].join(",");
    let json_form = |element: &str, count: usize| format!("[{}]", vec![element; count].join(","));
    let element = r#"{"name":"a"}"#;
    assert_eq!(ok(&short_form(MAX_ELEMENTS)).len(), MAX_ELEMENTS);
    assert_eq!(ok(&json_form(element, MAX_ELEMENTS)).len(), MAX_ELEMENTS);
    for (annotation, count) in [
        (short_form(MAX_ELEMENTS + 1), "65"),
        (json_form(element, MAX_ELEMENTS + 1), "65"),
        (short_form(120_000), "120000"),
        (short_form(120_000).replace('a', "-"), "120000"),
        (json_form("7", 120_000), "120000"),
    ] {
        let (location, reason) = wrong(&annotation);
        assert_eq!(location, "annotation");
        assert!(
            reason.contains(&format!("lists {count} networks")) && reason.contains("may have 64"),
            "{reason}"
        );
    }
}

#[test]
fn the_length_of_an_annotation_is_limited() {
    let annotation = |length: usize| "a".to_owned() + &" ".repeat(length - 1);
    assert_eq!(short(&ok(&annotation(MAX_ANNOTATION))), ["ns1/a"]);
    let (location, reason) = wrong(&annotation(MAX_ANNOTATION + 1));
    assert_eq!(location, "annotation");
    assert!(
        reason.contains("262145 bytes") && reason.contains("262144"),
        "{reason}"
    );
}

#[test]
fn a_syntax_error_has_its_position() {
    rows!("K-020", "K-023");
    for (annotation, position, before) in [
        (
            r#"[{"name":"a"},]"#,
            "line 1 column 15",
            r#"[{"name":"a"},]"#,
        ),
        (r#"[{"name":"a"}"#, "line 1 column 13", r#"[{"name":"a"}"#),
        ("[\n{\"näme\":\"a\"}\n x]", "line 3 column 2", " x"),
        (
            "[{\"name\":\"é\" \"a-name-that-is-rather-long\"}]",
            "line 1 column 15",
            "[{\"name\":\"é\" \"",
        ),
        (
            r#"[{"name":"a","key-of-more-than-thirty-characters":}]"#,
            "line 1 column 51",
            r#"of-more-than-thirty-characters":}"#,
        ),
        ("a,[", "line 1 column 1", "a"),
        ("[] a", "line 1 column 4", "[] a"),
    ] {
        let (location, reason) = wrong(annotation);
        assert_eq!(location, "annotation");
        let end: String = before
            .chars()
            .skip(before.chars().count().saturating_sub(30))
            .collect();
        assert!(reason.contains(position), "{annotation}: {reason}");
        assert!(
            reason.ends_with(&format!("after {end:?}")),
            "{annotation}: {reason}"
        );
    }
}

#[test]
fn elements_must_be_objects() {
    rows!("K-026", "K-046");
    for text in ["null", "1", "\"a\"", "[]", "true", r#"[{"name":"a"}]"#] {
        let (location, reason) = wrong(&format!(r#"[{{"name":"a"}},{text}]"#));
        assert_eq!(
            (location.as_str(), reason),
            ("element 2", format!("{text} is not an object"))
        );
    }
}

#[test]
fn limits_are_checked_before_parsing() {
    let deep = format!(
        r#"[{{"name":"a","cni-args":{{"a":{}1{}}}}}]"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let (location, reason) = wrong(&deep);
    assert_eq!(location, "annotation");
    assert!(reason.contains("nested deeper"), "{reason}");
    let (_, reason) = wrong(&format!("[{}]", " ".repeat(3 << 20)));
    assert!(reason.contains("bytes"), "{reason}");
}

#[test]
fn an_empty_annotation_is_valid() {
    rows!("K-024");
    for nothing in ["", "  \n", "[]", " [ ]\n"] {
        assert!(ok(nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn messages_cut_long_text() {
    let (_, reason) = wrong(&format!(
        r#"[{{"name":["{}\u0000",  "é"]}}]"#,
        "é".repeat(1000)
    ));
    let end = format!("{}\\u0000\", \"é\"]", "é".repeat(27));
    let shown = format!("[\"{}…{end} (2017 bytes)", "é".repeat(78));
    assert_eq!(reason, format!("{shown} is not a string"));
    let (_, reason) = wrong("[{\"name\":\n  [1,\n\t2]}]");
    assert_eq!(reason, "[1, 2] is not a string");
    let longest = "A".repeat(120);
    assert!(wrong(&longest).0.ends_with(&format!("{longest:?}")));
}

/// Text that often resembles an annotation.
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
    prop_oneof![
        any::<String>(),
        prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
    ]
}

proptest! {
    #[test]
    fn any_text_is_accepted_or_refused(annotation in annotations(), namespace in "[a-z]{1,8}") {
        match parse(&annotation, &namespace) {
            Ok(list) => {
                for selection in list {
                    prop_assert!(!selection.name.is_empty() && !selection.namespace.is_empty());
                }
            }
            Err(error) => prop_assert!(!error.location.is_empty() && !error.reason.is_empty()),
        }
    }
}
