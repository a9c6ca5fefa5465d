use super::*;
use crate::cni::CniError;

#[test]
fn depth_counts_only_brackets_outside_strings() {
    let deep = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
    assert!(check_limits(deep.as_bytes(), MAX_CONFIG).is_ok());
    assert!(check_limits(format!("[{deep}]").as_bytes(), MAX_CONFIG).is_err());
    let text = format!(r#"{{"a":"\"{}"}}"#, "[".repeat(MAX_DEPTH * 2));
    assert!(check_limits(text.as_bytes(), MAX_CONFIG).is_ok());
    let wide = "[[],[]".to_owned() + &",[]".repeat(MAX_DEPTH * 2) + "]";
    assert!(check_limits(wide.as_bytes(), MAX_CONFIG).is_ok());
}

#[test]
fn entries_are_counted_at_the_first_level_and_outside_strings() {
    for (text, count) in [
        ("7", 1),
        ("[]", 1),
        ("[1]", 1),
        (r#"[1,[2,3],{"a":4,"b":5},"6,7","\",8","\\",9]"#, 7),
        (r#" {"a,b":[1,2], "c":{"d":3,"e":4}} "#, 2),
    ] {
        assert_eq!(count_entries(text), count, "{text}");
    }
}

#[test]
fn values_are_counted_at_every_depth_and_outside_strings() {
    for (text, count) in [
        ("7", 0),
        (r#"{"a":1}"#, 1),
        (r#"[1,[2,3],{"a":4,"b":5},"6,[7"]"#, 8),
    ] {
        assert_eq!(count_values(text.as_bytes()), count, "{text}");
    }
    let list = |values: usize| format!("[{}0]", "0,".repeat(values - 1));
    assert!(check_result(list(MAX_RESULT_VALUES).as_bytes()).is_ok());
    let error = CniError::from(
        check_result(list(MAX_RESULT_VALUES + 1).as_bytes()).expect_err("too many values"),
    );
    assert_eq!(error.code, 6);
    assert!(error.msg.contains("16384 values"), "{error}");
}

#[test]
fn size_is_limited() {
    assert!(check_limits(b"123", 3).is_ok());
    let error = CniError::from(check_limits(b"1234", 3).expect_err("too long"));
    assert_eq!(error.code, 6);
    assert!(error.msg.contains("3 bytes"), "{error}");
}
