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
    assert_eq!(object.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
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
