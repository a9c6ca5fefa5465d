//! Pods and pod templates.

use super::{assert_found, definition, findings, pod, printed};
use crate::cli::LintFormat;

#[test]
fn an_annotation_that_plexus_refuses_is_an_error_at_its_place() {
    assert_found(&[
        (
            &pod("[{\"name\": \"a\"},\n {\"name\": \"b\",\n  \"ips\": [\"10.1.2\"]}]"),
            &[
                "8:10: error[annotation]",
                "element 2, key \"ips\"",
                "is not an IP address",
            ],
        ),
        (&pod("a,b c"), &["6:37: error", "item 2 \"b c\""]),
        (&pod("[{\"name\": \"a\"]"), &["6:48: error", "is not JSON"]),
        (
            &pod("a@a-very-long-name-1"),
            &["error", "is longer than 15 bytes"],
        ),
        (
            &pod("a@eth0,b").replace("'a@eth0,b'", "[a, b]"),
            &["6:34: error", "must be a string"],
        ),
    ]);
}

#[test]
fn what_each_annotation_may_have_is_known() {
    let both = r#"[{"name": "a", "ips": ["10.1.2.3/24"], "ipam-claim-reference": "c"}]"#;
    assert_found(&[(&pod(both), &["error[annotation]", "ipam-claim-reference"])]);
    let default = pod(both).replace(
        "k8s.v1.cni.cncf.io/networks",
        "v1.multus-cni.io/default-network",
    );
    assert_eq!(findings(&default), "");
}

#[test]
fn the_networks_of_a_pod_are_planned_with_the_definitions_of_all_files() {
    let lan = definition("lan", "{\"type\": \"bridge\"}");
    let both = |pod: String| format!("{lan}---\n{pod}");
    assert_found(&[
        (
            &both(pod("[{\"name\": \"lan\", \"ips\": [\"10.1.2.3\"]}]")),
            &[
                "13:36: warning[plan]",
                "no plugin of the network declares that capability",
            ],
        ),
        (
            &both(pod("other, lan@net1")),
            &["13:42: error[plan]", "interface \"net1\"", "taken by"],
        ),
        // Both gateways are of the same family, whatever the definitions are.
        (
            &pod(
                "[{\"name\": \"a\", \"default-route\": [\"10.1.0.1\"]}, {\"name\": \"b\", \"default-route\": [\"10.2.0.1\"]}]",
            ),
            &["error[plan]", "second gateway"],
        ),
    ]);
    // Only the definition in the same directory counts, unless there is a single one.
    let selecting = pod("[{\"name\": \"lan\", \"ips\": [\"10.1.2.3\"]}]");
    let with_ips = definition(
        "lan",
        "{\"type\": \"bridge\", \"capabilities\": {\"ips\": true}}",
    );
    for (files, is_found) in [
        (vec![("a/pod.yaml", &selecting), ("b/lan.yaml", &lan)], true),
        (
            vec![
                ("a/pod.yaml", &selecting),
                ("a/lan.yaml", &with_ips),
                ("b/lan.yaml", &lan),
            ],
            false,
        ),
        (
            vec![
                ("a/pod.yaml", &selecting),
                ("b/lan.yaml", &lan),
                ("c/lan.yaml", &lan),
            ],
            false,
        ),
    ] {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        let found = printed(&files, LintFormat::Text);
        assert_eq!(
            found.contains("warning[plan]"),
            is_found,
            "{files:?} {found}"
        );
    }
    // A definition may be in the cluster, and nothing is known about its plugins.
    let unknown = pod("[{\"name\": \"unknown\", \"ips\": [\"10.1.2.3\"]}]");
    assert_eq!(findings(&both(unknown)), "");
}

#[test]
fn pod_templates_are_checked_and_annotations_of_workloads_have_no_effect() {
    let deployment = |own: &str, template: &str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  annotations: {own}\nspec:\n  template:\n    \
             metadata:\n      annotations: {template}\n"
        )
    };
    let annotation = |value: &str| format!("{{k8s.v1.cni.cncf.io/networks: '{value}'}}");
    assert_found(&[
        (
            &deployment("{}", &annotation("a/b/c")),
            &["9:51: error[annotation]", "Deployment default/web"],
        ),
        (
            &deployment(&annotation("a"), "{}"),
            &[
                "5:17: error[manifest]",
                "spec.template.metadata.annotations",
            ],
        ),
        (
            "{\"kind\": \"List\", \"apiVersion\": \"v1\", \"items\": [{\"kind\": \"CronJob\", \"spec\": {\"jobTemplate\": \
             {\"spec\": {\"template\": {\"metadata\": {\"annotations\": {\"k8s.v1.cni.cncf.io/networks\": \"a,,b\"}}}}}}}]}",
            &["CronJob default/?", "item 2"],
        ),
    ]);
    let text = deployment(&annotation("a"), &annotation("a"));
    assert_eq!(findings(&text), "");
}
