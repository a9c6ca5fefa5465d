use super::*;

fn source(text: &str) -> Source {
    Source {
        name: "file".to_owned(),
        text: text.to_owned(),
    }
}

/// The line and column of the value at `path` inside the string at `config` of the first document.
fn inside(text: &str, path: &[PathStep]) -> (usize, usize) {
    let source = source(text);
    let value: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).expect("YAML");
    let content = value["config"].as_str().expect("a string");
    let embedded = Embedded::string(&source, 0, vec!["config".into()], content);
    let Position { line, column } = embedded.value(path);
    (line, column)
}

#[test]
fn values_inside_a_string_have_a_position_in_every_style_of_yaml() {
    let mtu = ["plugins".into(), 0.into(), "mtu".into()];
    for (text, expected) in [
        (
            "config: |\n  {\"plugins\": [\n    {\"type\": \"x\",\n     \"mtu\": \"1\"}]}\n",
            (4, 13),
        ),
        (
            "config: >-\n  {\"plugins\": [\n  {\"type\": \"x\",\n  \"mtu\": \"1\"}]}\n",
            (4, 10),
        ),
        (
            "config: '{\"plugins\": [{\"name\": \"it''s\",\n    \"mtu\": \"1\"}]}'",
            (2, 12),
        ),
        (
            "config: \"{\\\"plugins\\\": [\\n  {\\\"mtu\\\": \\\"1\\\"}]}\"",
            (1, 39),
        ),
        (
            "a: ü\n# comment\nconfig: \"{\\\"plugins\\\": [\\\n    {\\\"mtu\\\": 1}]}\"",
            (4, 15),
        ),
    ] {
        assert_eq!(inside(text, &mtu), expected, "{text}");
    }
    // A key is found in any case, and a missing one at the object that should have it.
    let text = "config: |\n  {\"A\":\n    {\"b\": 1}}\n";
    assert_eq!(inside(text, &["a".into(), "B".into()]), (3, 11));
    assert_eq!(inside(text, &["a".into(), "c".into()]), (3, 5));
}

#[test]
fn a_string_that_cannot_be_followed_has_the_position_of_its_start() {
    let text = "x: &anchor '{\"mtu\": 1}'\nconfig: *anchor\n";
    assert_eq!(inside(text, &["mtu".into()]).0, 1);
    let text = "config: \"{\\x22mtu\\x22: 1}\"\n";
    assert_eq!(inside(text, &["mtu".into()]), (1, 9));
}

#[test]
fn values_of_a_document_have_a_position() {
    let source = source("---\na: 1\n---\nb:\n  - c: x\n    d: y\nbase: &b {e: 2}\nf:\n  <<: *b\n");
    let at = |path: &[PathStep]| {
        let Position { line, column } = source.value(1, path);
        (line, column)
    };
    let d = ["b".into(), 0.into(), "d".into()];
    assert_eq!(at(&d), (6, 8));
    let key = source.key(1, &d);
    assert_eq!((key.line, key.column), (6, 5));
    assert_eq!(at(&["b".into(), 7.into()]), (5, 3), "the list");
    assert_eq!(at(&["f".into(), "e".into()]), (9, 3), "the mapping");
    assert_eq!(source.value(9, &d), Position::START);
}
