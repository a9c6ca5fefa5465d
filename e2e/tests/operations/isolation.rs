//! Restrictions that an administrator can configure.

use plexus_api::rows;
use plexus_e2e::{Node, Plexus, Pod, attaches, node};
use serde_json::{Value, json};

/// Asserts which annotations are allowed with `keys`. A case is the kind of annotation, its value,
/// and whether it is allowed.
fn assert_allowed(node: &Node, keys: &Value, cases: &[(&str, &str, bool)]) {
    const DEFAULT: &str = "v1.multus-cni.io/default-network";
    const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
    let plexus = Plexus::start_with(node, keys.clone());
    for name in ["a", "pool"] {
        node.plugin(name, &attaches());
    }
    for namespace in ["default", "ns", "global", "kube-system"] {
        let config =
            json!({"cniVersion": "1.0.0", "type": "a", "ipam": {"type": "pool"}}).to_string();
        plexus
            .manifests
            .definition_in(namespace, "n", Some(&config));
    }
    for (number, (annotation, text, allowed)) in cases.iter().enumerate() {
        let key = if *annotation == "default" {
            DEFAULT
        } else {
            NETWORKS
        };
        let pod = Pod {
            namespace: "ns".into(),
            ..Pod::new(&format!("p{number}")).annotated(key, *text)
        };
        let sandbox = node.sandbox(&pod.name);
        node.forget_calls();
        let output = plexus.runtime.add(&sandbox.target(&pod));
        assert_eq!(
            output.ok(),
            *allowed,
            "{keys} {annotation} {text}: {output:?}"
        );
        if *allowed {
            plexus.runtime.del(&sandbox.target(&pod)).expect_success();
        } else {
            let msg = output.expect_code(106);
            assert!(
                msg.starts_with(&format!("ADD pod ns/{}: network \"", pod.name)),
                "{msg}"
            );
            assert!(msg.contains(" interface \""), "{msg}");
            assert_eq!(plexus.calls(), [""; 0]);
            plexus.assert_nothing_left(&sandbox);
        }
    }
}

#[test]
fn everything_is_allowed_by_default() {
    rows!("K-012");
    let cases = [
        ("networks", "default/n", true),
        ("networks", "global/n", true),
        ("default", "default/n", true),
    ];
    assert_allowed(&node!(), &json!({}), &cases);
}

#[test]
fn namespace_isolation_rejects_definitions_of_other_namespaces() {
    rows!("K-012");
    let keys = json!({"namespaceIsolation": true});
    let cases = [
        ("networks", "n", true),
        ("networks", "default/n", true),
        ("networks", "global/n", false),
        ("networks", "n,global/n", false),
        ("default", "ns/n", true),
        ("default", "global/n", false),
        ("default", "n", false),
    ];
    assert_allowed(&node!(), &keys, &cases);
}

#[test]
fn global_namespaces_replaces_the_default_list() {
    rows!("K-012");
    let keys = json!({"namespaceIsolation": true, "globalNamespaces": "global, kube-system"});
    let cases = [
        ("networks", "global/n", true),
        ("networks", "default/n", false),
        ("default", "n", true),
        ("default", "default/n", false),
    ];
    assert_allowed(&node!(), &keys, &cases);
}

#[test]
fn default_network_namespaces_limits_replacements_of_the_default_network() {
    let keys = json!({"defaultNetworkNamespaces": ["kube-system"]});
    let cases = [
        ("default", "n", true),
        ("default", "ns/n", false),
        ("networks", "ns/n", true),
    ];
    assert_allowed(&node!(), &keys, &cases);
}

#[test]
fn allowed_plugin_types_includes_ipam_plugins() {
    rows!("K-010");
    assert_allowed(
        &node!(),
        &json!({"allowedPluginTypes": ["a", "pool"]}),
        &[("networks", "n", true)],
    );
    assert_allowed(
        &node!(),
        &json!({"allowedPluginTypes": ["a"]}),
        &[("networks", "n", false), ("default", "n", false)],
    );
    assert_allowed(
        &node!(),
        &json!({"allowedPluginTypes": ["pool"]}),
        &[("networks", "n", false)],
    );
}

#[test]
fn allowed_plugin_types_can_depend_on_the_namespace_of_the_definition() {
    let keys = json!({"allowedPluginTypes": {"*": ["b"], "ns": ["a", "pool"], "global": ["a"]}});
    let cases = [
        ("networks", "n", true),
        ("networks", "global/n", false),
        ("networks", "default/n", false),
        ("default", "ns/n", true),
        ("default", "n", false),
    ];
    assert_allowed(&node!(), &keys, &cases);
}

#[test]
fn port_mapping_namespaces_limits_which_pods_may_open_ports_of_the_node() {
    let node = node!();
    let keys = json!({"portMappingNamespaces": ["ingress"]});
    let plexus = Plexus::start_with(&node, keys);
    plexus.network("n", &attaches());
    let networks = r#"[{"name": "n", "namespace": "default", "portMappings": [{"hostPort": 10250, "containerPort": 80}]}]"#;
    for (namespace, allowed) in [("default", false), ("ingress", true)] {
        let pod = Pod::new(namespace)
            .in_namespace(namespace)
            .with_networks(networks);
        let output = plexus.runtime.add(&plexus.target(&pod));
        if allowed {
            output.result();
        } else {
            output.expect_error(106, &["default/n", "portMappingNamespaces", "(code 106)"]);
        }
    }
}

#[test]
fn isolation_protects_the_names_inside_configurations() {
    let node = node!();
    node.plugin("a", &attaches());
    let keys = json!({"namespaceIsolation": true});
    let plexus = Plexus::start_with(&node, keys);
    let define = |namespace: &str, name: &str, config: Value| {
        let text = config.to_string();
        plexus.manifests.definition_in(namespace, name, Some(&text));
    };
    let plugin = |name: &str| json!({"cniVersion": "1.0.0", "name": name, "type": "a"});
    define("other", "lan", json!({"cniVersion": "1.0.0", "type": "a"}));
    define("other", "named", plugin("storage"));
    // The default network has the name `pods`.
    define("ns", "default", plugin("pods"));
    define("ns", "pods", json!({"cniVersion": "1.0.0", "type": "a"}));
    define("ns", "taker", plugin("lan"));
    define("ns", "storage", json!({"cniVersion": "1.0.0", "type": "a"}));
    define("ns", "lan", json!({"cniVersion": "1.0.0", "type": "a"}));
    define("ns", "mine", plugin("mine-alone"));
    // Unknown definitions are waited for, so all others are known.
    define("ns", "last", plugin("last"));
    for (number, (network, owner)) in [
        ("last", None),
        ("default", Some("\"pods\"")),
        ("pods", Some("\"pods\"")),
        ("taker", Some("\"other/lan\"")),
        ("storage", None),
        ("lan", None),
        ("mine", None),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = Pod::new(&format!("p{number}"))
            .in_namespace("ns")
            .with_networks(network);
        let sandbox = node.sandbox(&pod.name);
        let output = plexus.runtime.add(&sandbox.target(&pod));
        match owner {
            None => {
                output.result();
            }
            Some(owner) => {
                let msg = output.expect_code(106);
                assert!(
                    msg.contains(owner) && msg.contains("namespace isolation"),
                    "{msg}"
                );
            }
        }
        plexus.runtime.del(&sandbox.target(&pod)).expect_success();
    }
    // The name belongs to the definition of that name.
    let pod = Pod::new("other")
        .in_namespace("other")
        .with_networks("named");
    let sandbox = node.sandbox("other");
    plexus
        .runtime
        .add(&sandbox.target(&pod))
        .expect_error(106, &["ns/storage"]);
}
