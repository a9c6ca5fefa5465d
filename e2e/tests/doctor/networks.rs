//! Faults of definitions and pods.

use plexus_e2e::{Plexus, Pod, Script, Step, attaches, node};
use serde_json::json;

use crate::{Diagnosis, installed};

/// A fault, and the first finding.
struct Fault {
    make: fn(&Plexus<'_>),
    check: &'static str,
    texts: &'static [&'static str],
}

fn check_all(faults: &[Fault]) {
    for Fault { make, check, texts } in faults {
        let node = node!();
        let plexus = installed(&node);
        make(&plexus);
        Diagnosis::of(&node, "").expect_failed(check, texts);
    }
}

/// A pod of this node that selects the network `lan`.
fn pod_with_lan(plexus: &Plexus<'_>) {
    plexus.manifests.pod(&Pod::new("web").with_networks("lan"));
}

#[test]
fn faults_of_a_definition_that_a_pod_selects_are_named() {
    check_all(&[
        Fault {
            make: |plexus| {
                pod_with_lan(plexus);
                plexus
                    .manifests
                    .definition_in("default", "lan", Some("{\"type\": "));
            },
            check: "definitions",
            texts: &["definition default/lan", "JSON", "plexusd lint"],
        },
        Fault {
            make: |plexus| {
                pod_with_lan(plexus);
                plexus.manifests.definition_in("default", "lan", None);
            },
            check: "definitions",
            texts: &["definition default/lan", "no spec.config"],
        },
        Fault {
            make: |plexus| {
                pod_with_lan(plexus);
                let config = json!({"cniVersion": "1.0.0", "type": "bridge", "ipam": {"type": "host-local"}});
                plexus.manifests.definition("lan", &config);
            },
            check: "definitions",
            texts: &["host-local", "no \\\"subnet\\\""],
        },
        Fault {
            make: |plexus| {
                pod_with_lan(plexus);
                let config = json!({"cniVersion": "1.0.0", "type": "missing"});
                plexus.manifests.definition("lan", &config);
            },
            check: "definitions",
            texts: &[
                "definition default/lan",
                "\\\"missing\\\" is in none",
                "install it",
            ],
        },
        Fault {
            make: |plexus| {
                pod_with_lan(plexus);
                let answer = r#"{"cniVersion":"0.3.1","supportedVersions":["0.3.1"]}"#;
                let script = attaches().on("VERSION", [Step::Stdout(answer.into())]);
                plexus.network("lan", &script);
            },
            check: "definitions",
            texts: &["supports the versions 0.3.1", "cniVersion 1.0.0"],
        },
        Fault {
            make: |plexus| {
                pod_with_lan(plexus);
                plexus.node.plugin("macvlan", &attaches());
                let config = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": "eth7"});
                plexus.manifests.definition("lan", &config);
            },
            check: "links",
            texts: &[
                "definition default/lan",
                "\\\"eth7\\\" is not a link of this node",
            ],
        },
        Fault {
            make: |plexus| {
                pod_with_lan(plexus);
                plexus.device_networks(&[("lan", "example.com/vf")]);
            },
            check: "kubelet",
            texts: &["kubeletDir", "no socket"],
        },
    ]);
}

#[test]
fn a_definition_that_no_pod_of_the_node_selects_is_a_warning() {
    let node = node!();
    let plexus = installed(&node);
    let config = json!({"cniVersion": "1.0.0", "type": "missing"});
    plexus.manifests.definition("other", &config);
    let diagnosis = Diagnosis::of(&node, "");
    assert_eq!(diagnosis.exit_code, Some(1), "{:#}", diagnosis.json);
    diagnosis.expect_first("warning", "definitions", &["default/other"]);
}

#[test]
fn a_link_that_exists_is_no_finding() {
    let node = node!();
    let plexus = installed(&node);
    pod_with_lan(&plexus);
    node.plugin("macvlan", &attaches());
    let config = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": "eth7"});
    plexus.manifests.definition("lan", &config);
    node.uplink("eth7");
    Diagnosis::of(&node, "").expect_nothing();
}

#[test]
fn annotations_that_cannot_work_are_named() {
    check_all(&[
        Fault {
            make: |plexus| {
                plexus
                    .manifests
                    .pod(&Pod::new("web").with_networks("missing"));
            },
            check: "pods",
            texts: &[
                "pod default/web",
                "cannot start",
                "no network-attachment-definition",
            ],
        },
        Fault {
            make: |plexus| plexus.manifests.pod(&Pod::new("web").with_networks("[{")),
            check: "pods",
            texts: &["pod default/web", "annotation"],
        },
        Fault {
            make: |plexus| {
                plexus.networks(&["a", "b"]);
                plexus
                    .manifests
                    .pod(&Pod::new("web").with_networks("a@lan0,b@lan0"));
            },
            check: "pods",
            texts: &["pod default/web", "lan0"],
        },
    ]);
}

#[test]
fn a_running_pod_whose_definition_was_deleted_is_a_warning() {
    let node = node!();
    let plexus = installed(&node);
    plexus.networks(&["lan"]);
    pod_with_lan(&plexus);
    plexus.attached("web", "lan");
    Diagnosis::of(&node, "").expect_nothing();
    plexus.manifests.remove_definition("lan");
    let diagnosis = Diagnosis::of(&node, "");
    assert_eq!(diagnosis.exit_code, Some(1), "{:#}", diagnosis.json);
    diagnosis.expect_first("warning", "pods", &["default/web", "could not start again"]);
}

#[test]
fn a_plugin_that_does_not_answer_version_is_a_warning() {
    let node = node!();
    let plexus = installed(&node);
    plexus.network("lan", &Script::new().fails("VERSION", 4, "what?"));
    let diagnosis = Diagnosis::of(&node, "");
    assert_eq!(diagnosis.exit_code, Some(1), "{:#}", diagnosis.json);
    diagnosis.expect_first("warning", "definitions", &["does not answer VERSION"]);
}
