use super::*;

fn types(json: &str) -> Vec<String> {
    strings_at(json, "type").collect()
}

#[test]
fn strings_are_found_at_any_depth_in_any_spelling() {
    let deep = format!(
        r#"{}{{"type":"x"}}{}"#,
        r#"{"a":["#.repeat(5000),
        "]}".repeat(5000)
    );
    for json in [
        r#"{"type":"x"}"#,
        r#"{"TYPE" : "x"}"#,
        r#"{"a":[[{"b":{"Type":"x"}}]]}"#,
        r#"{"ty\u0070e":"\u0078"}"#,
        r#"{"big":1e400,"type":"x"}"#,
        r#"{"a":"\ud800","type":"x"}"#,
        r#"{"\udc00":1,"type":"x"}"#,
        r#"{"a":"\"","b":"\\","type":"x"}"#,
        r#"{"a":"type","type":5,"b":{"type":"x"}}"#,
        &deep,
    ] {
        assert_eq!(types(json), ["x"], "{json}");
    }
    assert_eq!(
        types(r#"{"type":"a","Type":"b","type":"c"}"#),
        ["a", "b", "c"]
    );
    assert_eq!(types(r#"{"type":"a\ud800"}"#), ["a\u{fffd}"]);
    let long_s: Vec<_> = strings_at("{\"ip\u{17f}\":\"x\"}", "ips").collect();
    assert_eq!(long_s, ["x"]);
}

#[test]
fn other_strings_are_not_found() {
    for json in [
        "",
        r#""type""#,
        r#"["type","x"]"#,
        r#"{"a":"type","x":"b"}"#,
        r#"{"type2":"x","a":{"type":["x"]},"b":{"type":null}}"#,
        r#"{"text":"{\"type\":\"x\"}"}"#,
        r#"{"a":["\\\\","type:",":","x"]}"#,
    ] {
        assert_eq!(types(json), [""; 0], "{json}");
    }
}
