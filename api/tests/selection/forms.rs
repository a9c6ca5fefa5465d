//! The two forms, JSON and items between commas, and what is neither.

use plexus_api::rows;
use plexus_api::selection::parse;
use proptest::prelude::*;

use crate::{ok, short, wrong};

#[test]
fn brackets_braces_and_quotes_make_it_json() {
    rows!("K-020");
    assert_eq!(short(&ok("a,b")), ["ns1/a", "ns1/b"]);
    assert_eq!(short(&ok(r#"[{"name":"a"}]"#)), ["ns1/a"]);
    assert_eq!(
        short(&ok("\n [ {\"name\" : \"a\"} ,\n{\"name\":\"b\"}]\n")),
        ["ns1/a", "ns1/b"]
    );
    for not_a_list in [r#"{"name":"a"}"#, r#""a""#] {
        let (place, why) = wrong(not_a_list);
        assert_eq!(place, "annotation");
        assert!(
            why.contains(&format!("{not_a_list} is not a list")),
            "{why}"
        );
    }
    // Without one of the three it is a name, whatever it means in JSON.
    assert_eq!(short(&ok("null")), ["ns1/null"]);
    assert_eq!(short(&ok("12")), ["ns1/12"]);
}

#[test]
fn broken_json_is_shown_where_it_breaks() {
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
        let (place, why) = wrong(annotation);
        assert_eq!(place, "annotation");
        let end: String = before
            .chars()
            .skip(before.chars().count().saturating_sub(30))
            .collect();
        assert!(why.contains(position), "{annotation}: {why}");
        assert!(
            why.ends_with(&format!("after {end:?}")),
            "{annotation}: {why}"
        );
    }
}

#[test]
fn elements_that_are_no_objects_are_errors() {
    rows!("K-026", "K-046");
    for text in ["null", "1", "\"a\"", "[]", "true", r#"[{"name":"a"}]"#] {
        let (place, why) = wrong(&format!(r#"[{{"name":"a"}},{text}]"#));
        assert_eq!(
            (place.as_str(), why),
            ("element 2", format!("{text} is not an object"))
        );
    }
}

#[test]
fn limits_hold_before_anything_is_read() {
    let deep = format!(
        r#"[{{"name":"a","cni-args":{{"a":{}1{}}}}}]"#,
        "[".repeat(5000),
        "]".repeat(5000)
    );
    let (place, why) = wrong(&deep);
    assert_eq!(place, "annotation");
    assert!(why.contains("nested deeper"), "{why}");
    let (_, why) = wrong(&format!("[{}]", " ".repeat(3 << 20)));
    assert!(why.contains("bytes"), "{why}");
}

#[test]
fn nothing_asked_for_is_no_error() {
    rows!("K-024");
    for nothing in ["", "  \n", "[]", " [ ]\n"] {
        assert!(ok(nothing).is_empty(), "{nothing:?}");
    }
}

#[test]
fn long_texts_are_cut_in_messages() {
    let (_, why) = wrong(&format!(
        r#"[{{"name":["{}\u0000",  "é"]}}]"#,
        "é".repeat(1000)
    ));
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
    prop_oneof![
        any::<String>(),
        prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
    ]
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
