//! Forms of definitions in the documentation of Multus, of plugins and of operators, and in the
//! output of `kubectl`.

use serde_json::{Value, json};

use super::super::parse::parse;

/// A definition whose `spec.config` is this YAML.
fn definition(config: &str) -> String {
    format!(
        "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata:\n  name: net\n\
         spec:\n  config: {config}\n"
    )
}

/// The configurations of the definitions in `text`, in order.
fn configs(text: &str) -> Vec<Value> {
    let objects = parse(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    let config = |text: Option<String>| serde_json::from_str(&text.expect("a config"));
    objects
        .definitions
        .into_iter()
        .map(|definition| {
            config(definition.config).unwrap_or_else(|error| panic!("{error}:\n{text}"))
        })
        .collect()
}

#[test]
fn the_configuration_of_a_definition_can_have_any_form_of_a_string() {
    let expected = [json!({"type": "macvlan", "master": "eth0", "ipam": {}})];
    for config in [
        r#"'{"type": "macvlan", "master": "eth0", "ipam": {}}'"#,
        r#""{\"type\": \"macvlan\", \"master\": \"eth0\", \"ipam\": {}}""#,
        r#""{\n  \"type\": \"macvlan\",\n  \"master\": \"eth0\", \"ipam\":
    {}\n}""#,
        // The last line is indented as its key, or less, or not at all.
        "'{\n      \"type\": \"macvlan\",\n      \"master\": \"eth0\",\n      \"ipam\": {}\n  }'",
        "'{\n    \"type\": \"macvlan\",\n    \"master\": \"eth0\",\n    \"ipam\": {}\n }'",
        "'{\n    \"type\": \"macvlan\",\n    \"master\": \"eth0\",\n    \"ipam\": {}\n}'",
        // No line is indented deeper than the key.
        "'{\n\"type\": \"macvlan\",\n\"master\": \"eth0\",\n\"ipam\": {}\n}'",
        "\n    '{\n  \"type\": \"macvlan\",\n  \"master\": \"eth0\",\n  \"ipam\": {}\n  }'",
        "\"{\n  \\\"type\\\": \\\"macvlan\\\", \\\"master\\\": \\\"eth0\\\",\n\\\"ipam\\\": {}}\"",
        // Tabs inside the quotes.
        "'{\n\t\"type\": \"macvlan\",\n\t\t\"master\": \"eth0\",\n\t\"ipam\": {}\n\t}'",
        "'{\t\"type\":\t\"macvlan\", \"master\": \"eth0\",\t\n \n  \"ipam\": {} }'",
        // Literal and folded blocks.
        "|\n    {\n      \"type\": \"macvlan\",\n      \"master\": \"eth0\", \"ipam\": {}\n    }",
        "|-\n    {\n    \t\"type\": \"macvlan\",\n    \t\"master\": \"eth0\", \"ipam\": {}\n    }",
        "|2+\n      {\n    \"type\": \"macvlan\", \"master\": \"eth0\", \"ipam\": {}\n      }\n\n",
        ">-\n    {\"type\": \"macvlan\",\n    \"master\": \"eth0\",\n\n    \"ipam\": {}}",
        "!!str '{\"type\": \"macvlan\", \"master\": \"eth0\", \"ipam\": {}}' # a comment",
    ] {
        let text = definition(config);
        assert_eq!(configs(&text), expected, "{text}");
        let windows = text.replace('\n', "\r\n");
        assert_eq!(configs(&windows), expected, "{windows}");
        let marked = format!("\u{feff}{text}");
        assert_eq!(configs(&marked), expected, "{marked}");
    }
}

#[test]
fn lists_as_kubectl_prints_them_are_read() {
    let item = |name: &str| {
        json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {
                "annotations": {"k8s.v1.cni.cncf.io/resourceName": "example.com/vf"},
                "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1, "name": name,
                "namespace": "tenant", "resourceVersion": "7", "uid": "0-1",
            },
            "spec": {"config": format!("{{\"type\":\"{name}\"}}")},
        })
    };
    let without_kind = |name: &str| {
        let mut item = item(name);
        let object = item.as_object_mut().expect("an object");
        object.retain(|key, _| key != "kind" && key != "apiVersion");
        item
    };
    let expected = [json!({"type": "a"}), json!({"type": "b"})];
    let list = json!({
        "apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""},
        "items": [item("a"), item("b")],
    });
    let typed = json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinitionList",
        "metadata": {"continue": ""}, "items": [without_kind("a"), without_kind("b")],
    });
    for list in [list, typed] {
        let pretty = serde_json::to_string_pretty(&list)
            .expect("JSON")
            .replace("  ", "\t");
        let yaml = serde_yaml_ng::to_string(&list).expect("YAML");
        assert_eq!(configs(&pretty), expected);
        assert_eq!(configs(&format!("---\n{yaml}...\n---\n")), expected);
    }
    let pods =
        parse("apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: p}\n").expect("a list");
    assert_eq!(pods.pods.len(), 1);
    let empty = parse("apiVersion: v1\nkind: List\nitems:\n").expect("an empty list");
    assert!(empty.pods.is_empty() && empty.definitions.is_empty());
    let error =
        parse("apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {}}]\n")
            .expect_err("a pod without a name");
    assert!(error.starts_with("object 1: item 1: Pod: "), "{error}");
}

#[test]
fn json_files_anchors_and_repeated_keys_are_read() {
    let json = "{\"apiVersion\": \"k8s.cni.cncf.io/v1\", \"kind\": \"NetworkAttachmentDefinition\",\n\
                \t\"metadata\": {\"name\": \"n\"}, \"spec\": {\"config\": \"{\\u0022type\\u0022:\\\"\\ud83d\\ude00\\\"}\"}}";
    assert_eq!(
        configs(&format!("{json}\n{json}")),
        [json!({"type": "😀"}), json!({"type": "😀"})]
    );
    let anchors = "apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: &meta {name: b, labels: {on: yes}}
spec: &spec
  config: '{\"type\": \"first\"}'
  config: '{\"type\": \"last\"}'
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  labels: &labels {a: b}
  annotations: {<<: *labels, k8s.v1.cni.cncf.io/resourceName: example.com/vf, empty: }
  name: off
spec: {config: '{\"type\": \"second\"}'}
";
    let objects = parse(anchors).expect("YAML");
    let names: Vec<_> = objects
        .definitions
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["b", "off"]);
    assert_eq!(
        objects.definitions[1].resource_name.as_deref(),
        Some("example.com/vf")
    );
    assert_eq!(
        configs(anchors),
        [json!({"type": "last"}), json!({"type": "second"})]
    );
}

#[test]
fn other_kinds_are_listed_once() {
    let objects = parse("apiVersion: apps/v1\nkind: DaemonSet\n---\napiVersion: apps/v1\nkind: DaemonSet\n---\na: 1\n")
        .expect("YAML");
    let ignored: Vec<_> = objects.ignored.iter().map(String::as_str).collect();
    assert_eq!(ignored, ["DaemonSet (apps/v1)", "an object without kind"]);
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        text = format!("{text}a{level}: &a{level} [{aliases}]\n");
    }
    let error = parse(&text).expect_err("a bomb");
    assert!(error.contains("repetition limit"), "{error}");
}

#[test]
fn deeply_nested_brackets_are_refused_before_they_are_parsed() {
    for bracket in ["[", "{a: ", "[{b: "] {
        let text = format!("# comment\n{}", bracket.repeat(1_000_000));
        let error = parse(&text).expect_err(bracket);
        assert_eq!(error, "more than 1000 brackets are open at line 2");
    }
    let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
    let error = parse(&deep).expect_err("too deep");
    assert!(error.contains("recursion limit"), "{error}");
    let wide = format!("kind: Other\nlist: [{}]", "[], ".repeat(10_000));
    parse(&wide).expect("a list");
}
