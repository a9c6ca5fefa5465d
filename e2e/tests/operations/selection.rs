//! The networks that a pod selects by its annotation.

use plexus_api::rows;
use plexus_e2e::{Plexus, Pod, attaches, node};
use serde_json::json;

use crate::assert_error;

#[test]
fn a_pod_selects_networks_by_its_annotation() {
    rows!(
        "K-020", "K-021", "K-022", "K-024", "K-025", "K-027", "K-032", "K-048", "K-066"
    );
    let node = node!();
    let plexus = Plexus::start(&node);
    let runtime = plexus.runtime_with(json!({"capabilities": null}));
    plexus.networks(&["a", "b"]);
    node.plugin("far", &attaches());
    let far = json!({"cniVersion": "1.0.0", "type": "far"}).to_string();
    plexus.manifests.definition_in("ns", "a", Some(&far));
    for (number, (annotation, expected)) in [
        ("", vec![]),
        ("[]", vec![]),
        ("a,b", vec!["a net1", "b net2"]),
        (" a , ns/a,b@x0 ", vec!["a net1", "far net2", "b x0"]),
        (
            r#"[{"name": "b"}, {"name": "a"}]"#,
            vec!["b net1", "a net2"],
        ),
        (
            r#"[{"name": "a", "namespace": "ns"}, {"name": "a", "namespace": ""}]"#,
            vec!["far net1", "a net2"],
        ),
        (
            r#"[{"name": "a", "interface": "data0", "zzz": 1, "org.x.y": {"z": 2}}]"#,
            vec!["a data0"],
        ),
        ("a,a", vec!["a net1", "a net2"]),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = Pod::new(&format!("p{number}")).with_networks(annotation);
        plexus.manifests.pod(&pod);
        node.forget_calls();
        let output = runtime.add(&plexus.target(&pod));
        assert!(output.ok(), "{annotation}: {output:?}");
        let mut calls = vec!["ADD main eth0".to_owned()];
        calls.extend(expected.iter().map(|call| format!("ADD {call}")));
        assert_eq!(plexus.calls(), calls, "{annotation}");
        let status = plexus.network_status(&pod).expect("network-status");
        assert_eq!(
            status.as_array().map(Vec::len),
            Some(calls.len()),
            "{annotation}: {status}"
        );
    }
    let pod = Pod::new("none");
    plexus.manifests.pod(&pod);
    node.forget_calls();
    runtime.add(&plexus.target(&pod)).result();
    assert_eq!(plexus.calls(), ["ADD main eth0"]);
}

#[test]
fn add_waits_for_an_unknown_pod_and_an_unknown_definition() {
    rows!("P-042");
    let node = node!();
    let plexus = Plexus::start(&node);
    let runtime = plexus.runtime_with(json!({"capabilities": null}));
    let pod = Pod::new("p").with_networks("late");
    let running = runtime.start("ADD", &plexus.target(&pod));
    plexus.manifests.pod(&pod);
    plexus.network("late", &attaches());
    running.wait().result();
    assert_eq!(plexus.calls(), ["ADD main eth0", "ADD late net1"]);
}

#[test]
fn add_of_an_unknown_pod_fails() {
    rows!("P-042");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"lookupWait": "10ms"}));
    let runtime = plexus.runtime_with(json!({"capabilities": null}));
    let (sandbox, target) = plexus.sandbox("p", "");
    let output = runtime.add(&target);
    assert_error(&output, 11, &["ADD pod default/p", "not known"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn an_invalid_annotation_is_rejected_and_quoted() {
    rows!("K-023", "K-026", "K-040", "K-046");
    let node = node!();
    let plexus = Plexus::start(&node);
    let runtime = plexus.runtime_with(json!({"capabilities": null}));
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    for (number, (annotation, parts)) in [
        ("a/b/c", vec!["a/b/c"]),
        ("a@b@c", vec!["a@b@c"]),
        ("A", vec!["lower-case"]),
        ("-a", vec!["lower-case"]),
        ("a,,b", vec!["empty"]),
        ("a,", vec!["empty"]),
        ("a@sixteen-bytes-xx", vec!["15 bytes"]),
        (
            "[{\"name\": \"a\"}, {\"name\": \"a\", \"interface\": \"sixteen-bytes-xx\"}]",
            vec!["15 bytes"],
        ),
        (
            "[{\"name\": \"a\"}, {\"name\": \"a\", \"mac\": \"zz:00\"}]",
            vec!["\"mac\"", "zz:00"],
        ),
        ("[{\"name\": \"a\"}, {\"name\": 5}]", vec!["\"name\""]),
        (
            "[{\"name\": \"a\", \"default-route\": [\"gateway.example\"]}]",
            vec!["default-route", "gateway.example"],
        ),
        ("{\"name\": \"a\"}", vec!["list"]),
        ("[{\"name\": \"a\"", vec!["JSON"]),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = Pod::new(&format!("p{number}")).with_networks(annotation);
        plexus.manifests.pod(&pod);
        let output = runtime.add(&sandbox.target(&pod));
        let subject = format!("ADD pod default/{}:", pod.name);
        let mut all = vec![subject.as_str(), "k8s.v1.cni.cncf.io/networks"];
        all.extend(parts);
        assert_error(&output, 105, &all);
        assert_eq!(plexus.calls(), [""; 0], "{annotation}");
        plexus.assert_nothing_left(&sandbox);
    }
}

#[test]
fn an_interface_name_that_is_taken_is_rejected_before_any_plugin_runs() {
    rows!("K-033", "K-067");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.networks(&["a", "b"]);
    let sandbox = node.sandbox("pod");
    sandbox.ip("link add there type bridge");
    for (annotation, ifname) in [
        ("a@eth0", "eth0"),
        ("a@lo", "lo"),
        ("a@x0,b@x0", "x0"),
        ("a@net2,b", "net2"),
        ("a@there", "there"),
    ] {
        let pod = Pod::new("p").with_networks(annotation);
        let output = plexus.runtime.add(&sandbox.target(&pod));
        let interface = format!(" interface {ifname:?}");
        let parts = ["ADD pod default/p", &interface, "taken"];
        assert_error(&output, 103, &parts);
        assert_eq!(plexus.calls(), [""; 0], "{annotation}");
    }
    sandbox.ip("link del there");
    plexus.assert_nothing_left(&sandbox);
}
