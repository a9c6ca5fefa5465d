//! What an administrator may forbid.

use plexus_api::rows;
use plexus_e2e::{Node, Pod, node};
use serde_json::{Value, json};

use crate::plexus::{Plexus, attaches, target};

/// Runs pods against `keys`: each an annotation, its text, and whether it is allowed.
fn judge(node: &Node, keys: &Value, cases: &[(&str, &str, bool)]) {
    const DEFAULT: &str = "v1.multus-cni.io/default-network";
    const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
    let plexus = Plexus::configured(node, keys.clone());
    node.plugin("a", &attaches());
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
        let answer = plexus.runtime.add(&target(&sandbox, &pod));
        assert_eq!(
            answer.ok(),
            *allowed,
            "{keys} {annotation} {text}: {answer:?}"
        );
        if *allowed {
            plexus.runtime.del(&target(&sandbox, &pod)).expect_silence();
        } else {
            let msg = answer.expect_code(106);
            assert!(
                msg.starts_with(&format!("ADD pod ns/{}: network \"", pod.name)),
                "{msg}"
            );
            assert!(msg.contains(" interface \""), "{msg}");
            assert_eq!(plexus.calls(), [""; 0], "the whole pod fails");
            plexus.assert_nothing_left(&sandbox);
        }
    }
}

#[test]
fn without_a_word_all_is_allowed() {
    rows!("K-012");
    let cases = [
        ("networks", "default/n", true),
        ("networks", "global/n", true),
        ("default", "default/n", true),
    ];
    judge(&node!(), &json!({}), &cases);
}

#[test]
fn namespaces_may_be_kept_apart() {
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
    judge(&node!(), &keys, &cases);
}

#[test]
fn a_list_of_global_namespaces_replaces_the_usual_one() {
    rows!("K-012");
    let keys = json!({"namespaceIsolation": true, "globalNamespaces": "global, kube-system"});
    let cases = [
        ("networks", "global/n", true),
        ("networks", "default/n", false),
        ("default", "n", true),
        ("default", "default/n", false),
    ];
    judge(&node!(), &keys, &cases);
}

#[test]
fn few_definitions_may_replace_the_default_network() {
    let keys = json!({"defaultNetworkNamespaces": ["kube-system"]});
    let cases = [
        ("default", "n", true),
        ("default", "ns/n", false),
        ("networks", "ns/n", true),
    ];
    judge(&node!(), &keys, &cases);
}

#[test]
fn plugin_types_may_be_limited() {
    rows!("K-010");
    judge(
        &node!(),
        &json!({"allowedPluginTypes": ["a", "pool"]}),
        &[("networks", "n", true)],
    );
    judge(
        &node!(),
        &json!({"allowedPluginTypes": ["a"]}),
        &[("networks", "n", false), ("default", "n", false)],
    );
    judge(
        &node!(),
        &json!({"allowedPluginTypes": ["pool"]}),
        &[("networks", "n", false)],
    );
}
