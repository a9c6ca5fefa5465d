use super::*;

fn version(text: &str) -> Option<String> {
    let object = Object::parse(text.as_bytes()).expect(text);
    object.get("cniVersion").expect(text)
}

#[test]
fn keys_match_in_any_case_and_the_last_one_wins() {
    for (text, expected) in [
        (r#"{"cniVersion":"1.1.0"}"#, Some("1.1.0")),
        (r#"{"CNIVERSION":"1.1.0"}"#, Some("1.1.0")),
        (
            r#"{"cniVersion":"0.4.0","cniversion":"1.1.0"}"#,
            Some("1.1.0"),
        ),
        (
            r#"{"cniversion":"1.1.0","cniVersion":"0.4.0"}"#,
            Some("0.4.0"),
        ),
        (
            r#"{"cniVersion":"1.1.0","CniVersion":"1.0.0","cniVersion":"0.4.0"}"#,
            Some("0.4.0"),
        ),
        (r#"{"cniVerſion":"1.1.0"}"#, Some("1.1.0")),
        (r#"{"cniVer\u017fion":"1.1.0"}"#, Some("1.1.0")),
        (r#"{"cniVersion":"1.1.0","CNIVersion":null}"#, Some("1.1.0")),
        (r#"{"version":"1.1.0"}"#, None),
    ] {
        assert_eq!(version(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn a_later_value_replaces_every_spelling() {
    let mut object = Object::parse(br#"{"A":1,"b":2}"#).expect("an object");
    object.insert("a", RawValue::from_string("3".to_owned()).expect("JSON"));
    object.extend(Object::parse(br#"{"B":4,"c":null}"#).expect("an object"));
    assert_eq!(object.raw("A").map(RawValue::get), Some("3"));
    assert_eq!(object.raw("b").map(RawValue::get), Some("4"));
    assert!(object.contains_key("C") && object.raw("C").is_none());
    assert_eq!(Vec::from_iter(object.keys()), ["a", "b", "c"]);
    // A null of `other` replaces a value.
    object.extend(Object::parse(br#"{"A":null}"#).expect("an object"));
    assert!(object.raw("a").is_none());
    object.remove("B");
    assert!(!object.contains_key("b"));
}

#[test]
fn keys_are_written_as_they_were_read() {
    let text = r#"{"b":1,"A":1e400,"a":[],"b":{"x":1}}"#;
    let object = Object::parse(text.as_bytes()).expect("an object");
    assert_eq!(serde_json::to_string(&object).expect("JSON"), text);
    assert_eq!((object.count("a"), object.count("c")), (2, 0));
    let map = object.into_map();
    assert_eq!(
        serde_json::to_string(&map).expect("JSON"),
        r#"{"A":1e400,"a":[],"b":{"x":1}}"#
    );
}

#[test]
fn text_that_only_go_accepts_is_read() {
    let text = b"\xef\xbb\xbf{\"a\xff\":\"b\\ud800\"}";
    let object = Object::parse(text).expect("an object");
    let value: Option<String> = object.get("a\u{fffd}").expect("a string");
    assert_eq!(value.as_deref(), Some("b\u{fffd}"));
}

#[test]
fn a_value_of_the_wrong_type_is_returned_as_the_error() {
    let object = Object::parse(br#"{"a":[1],"b":"","c":"x"}"#).expect("an object");
    assert_eq!(object.string("a").expect_err("a list").get(), "[1]");
    assert_eq!(object.string("b").expect("a string"), None);
    assert_eq!(object.string("C").expect("a string").as_deref(), Some("x"));
    assert_eq!(object.get::<u32>("c").expect_err("a string").get(), "\"x\"");
}

#[test]
fn other_json_is_refused_without_quoting_it() {
    for text in [
        &b"[\"s3cret\"]"[..],
        b"\"s3cret\"",
        b"{",
        b"",
        b"{} x",
        b"{\"s3cret\":\xff}",
    ] {
        let error = Object::parse(text).expect_err("not an object");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert!(
            error.to_string().starts_with("not a JSON object: "),
            "{error}"
        );
    }
}
