//! `allowedPluginTypes` and plugins that read a configuration by the rules of Go's decoder.

use plexus_api::rows;
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::{Node, Plexus, Script, attaches, node, or_skip};
use serde_json::json;

/// The text of a configuration for the reference plugin `bridge`, with `keys`.
fn bridge(keys: &str) -> String {
    format!(r#"{{"cniVersion":"1.0.0","bridge":"br9",{keys}}}"#)
}

/// Attaches a pod to a network with this configuration, and detaches it. Returns the code of the
/// error of ADD, if any.
fn attach(plexus: &Plexus<'_>, number: usize, config: &str) -> Option<u64> {
    let name = format!("n{number}");
    plexus
        .manifests
        .definition_in("default", &name, Some(config));
    let (_sandbox, target) = plexus.sandbox(&format!("p{number}"), &name);
    let output = plexus.runtime.add(&target);
    let code = output.code();
    plexus.runtime.del(&target).expect_success();
    code
}

fn calls_of_evil(node: &Node) -> usize {
    let calls = node.calls();
    calls.iter().filter(|call| call.plugin == "evil").count()
}

/// The configurations in which a plugin or a runtime could find the type `evil`.
fn hidden_types() -> Vec<String> {
    let plugin = [
        // Other spellings and repeated keys.
        r#""type":"bridge","ipam":{"type":"evil"}"#,
        r#""type":"bridge","IPAM":{"type":"evil"}"#,
        r#""type":"bridge","ipam":{"Type":"evil"}"#,
        r#""type":"bridge","ipam":{"type":"static","Type":"evil"}"#,
        r#""type":"bridge","ipam":{"type":"evil","type":"static"}"#,
        r#""type":"bridge","ipam":{"type":"static"},"Ipam":{"type":"evil"}"#,
        r#""type":"bridge","Ipam":{"type":"evil"},"ipam":{"type":"static"}"#,
        r#""type":"bridge","ipam":{"type":"evil"},"IPAM":{"x":1}"#,
        r#""type":"bridge","ipam":{"type":"evil"},"IPAM":null"#,
        r#""type":"bridge","ip\u0061m":{"t\u0079pe":"\u0065vil"}"#,
        r#""type":"bridge","type":"evil""#,
        r#""type":"bridge","Type":"evil""#,
        r#""type":"evil","Type":null"#,
        // Values that a strict parser refuses, but Go does not.
        r#""type":"bridge","ipam":{"type":"evil","x":1e400}"#,
        r#""type":"bridge","ipam":{"type":"evil","x":-1E+999}"#,
        r#""type":"bridge","ipam":{"type":"evil","x":"\ud800"}"#,
        r#""type":"bridge","ipam":{"\ud800":1,"type":"evil"}"#,
        r#""type":"bridge","ipam":{"x":"\udc00\ud800","type":"evil"},"\udfff":1"#,
        r#""type":"bridge","ipam":{"x":123456789012345678901234567890,"type":"evil"}"#,
        // Values of another type than plugins expect.
        r#""type":"bridge","ipam":[{"type":"evil"}]"#,
        r#""type":"bridge","ipam":{"type":["static"],"TYPE":"evil"}"#,
        r#""type":"bridge","ipam":{"type":null,"TYPE":"evil"}"#,
        // Plugins that other plugins execute.
        r#""type":"bridge","delegate":{"type":"evil"}"#,
        r#""type":"bridge","delegate":{"type":"bridge","ipam":{"type":"evil"}}"#,
        r#""type":"bridge","delegates":[{"type":"bridge"},{"Type":"evil"}]"#,
        r#""type":"bridge","x":[[{"y":{"type":"evil"}}]]"#,
    ];
    let mut configs: Vec<_> = plugin.iter().map(|keys| bridge(keys)).collect();
    let good = r#"{"type":"bridge","bridge":"br9","ipam":{"type":"static"}}"#;
    let evil = r#"{"type":"bridge","bridge":"br9","ipam":{"type":"evil"}}"#;
    configs.extend([
        bridge(&format!(r#""plugins":[{good},{{"type":"evil"}}]"#)),
        bridge(&format!(r#""plugins":[{evil}]"#)),
        bridge(&format!(r#""Plugins":[{evil}]"#)),
        bridge(&format!("\"plugin\u{17f}\":[{evil}]")),
        bridge(&format!(r#""plugins":[{good}],"Plugins":[{evil}]"#)),
        bridge(&format!(r#""plugins":[{evil}],"Plugins":[{good}]"#)),
        bridge(&format!(r#""plugins":[{good}],"plugins":[{evil}]"#)),
        bridge(&format!(r#""plugins":[{evil}],"plugins":null"#)),
        bridge(&format!(
            r#""plugins":[{{"type":"bridge","plugins":[{evil}]}}]"#
        )),
        bridge(&format!(r#""type":"bridge","plugins":[{evil}]"#)),
        bridge(r#""plugins":[[{"type":"evil"}]]"#),
        format!("\u{feff}{evil}"),
    ]);
    configs
}

#[test]
fn no_plugin_executes_a_type_that_is_not_allowed() {
    rows!("K-010");
    let dir = or_skip!(plugin_dir(&["bridge"]));
    let node = node!();
    node.real_plugins(&dir, &["bridge"]);
    node.plugin("evil", &Script::new());
    node.plugin("static", &Script::new());
    let plexus = Plexus::start_with(&node, json!({"allowedPluginTypes": ["bridge", "static"]}));
    let allowed = bridge(r#""type":"bridge","IPAM":{"Type":"static","x":1e400,"y":"\ud800"}"#);
    assert_eq!(attach(&plexus, 0, &allowed), None);
    assert!(plexus.calls().contains(&"ADD static net1".to_owned()));
    for (number, config) in hidden_types().into_iter().enumerate() {
        let code = attach(&plexus, number + 1, &config);
        assert!(
            matches!(code, Some(106 | 7)),
            "code {code:?} for {config:?}"
        );
        assert_eq!(calls_of_evil(&node), 0, "{config:?}");
    }
}

#[test]
fn the_reference_plugins_execute_types_in_other_spellings() {
    let dir = or_skip!(plugin_dir(&["bridge"]));
    let node = node!();
    node.real_plugins(&dir, &["bridge"]);
    node.plugin("evil", &attaches());
    let plexus = Plexus::start(&node);
    // Without the restriction, the same configurations reach the plugin.
    for (number, keys) in [
        r#""type":"bridge","IPAM":{"type":"evil"}"#,
        r#""type":"bridge","ipam":{"type":"static","Type":"evil"}"#,
        r#""type":"bridge","ipam":{"type":"evil","x":1e400,"y":"\ud800"}"#,
        "\"type\":\"bridge\",\"ipam\":{\"type\":\"evil\",\"\u{212a}\":1}",
    ]
    .into_iter()
    .enumerate()
    {
        let before = calls_of_evil(&node);
        attach(&plexus, number, &bridge(keys));
        assert!(calls_of_evil(&node) > before, "{keys}");
    }
}
