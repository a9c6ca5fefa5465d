use super::*;

#[test]
fn valid_text_is_unchanged() {
    for text in [
        "",
        r#"{"a":"\u00e4\ud83d\ude00\\ud800\"\/"}"#,
        "\"ä\u{fffd}\"",
        r"\",
        r"\é",
        r"\u12",
        r"\u+123",
        r"\ud83",
    ] {
        assert!(
            matches!(decode(text.as_bytes()), Cow::Borrowed(same) if same == text),
            "{text}"
        );
    }
}

#[test]
fn what_go_replaces_is_replaced() {
    for (bytes, expected) in [
        (&b"\"a\xff\xfeb\""[..], "\"a\u{fffd}\u{fffd}b\""),
        (br#""\ud800""#, r#""\ufffd""#),
        (br#""\uDFFF""#, r#""\ufffd""#),
        (br#""\ude00\ud83d""#, r#""\ufffd\ufffd""#),
        (br#""\ud83d\u0041""#, r#""\ufffd\u0041""#),
        (br#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
        (br#""\\\ud83d\n""#, r#""\\\ufffd\n""#),
        (b"\xef\xbb\xbf{}", "{}"),
    ] {
        assert_eq!(decode(bytes), expected, "{bytes:?}");
    }
}
