//! Calls with invalid parameters.

use std::fs;
use std::os::unix::fs::symlink;

use plexus_api::rows;
use plexus_e2e::{CniTarget, Plexus, Pod, node};
use serde_json::json;

use crate::assert_error;

#[test]
fn a_netns_that_is_not_a_network_namespace_of_a_pod_is_rejected() {
    rows!("P-011", "P-012", "P-013");
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("pod");
    let file = node.scratch().join("file");
    let dangling = node.scratch().join("dangling");
    fs::write(&file, "").expect("write a file");
    symlink("/not/there", &dangling).expect("create a link");
    let target = sandbox.target(&Pod::new("p"));
    for netns in [&file, &dangling, &node.scratch().to_owned()] {
        let netns = netns.to_str().expect("UTF-8");
        let target = target.clone().with_env("CNI_NETNS", Some(netns));
        let output = plexus.runtime.add(&target);
        assert_error(&output, 4, &["ADD pod default/p", "CNI_NETNS", netns]);
    }
    // The namespace of the daemon.
    let own = "/proc/self/ns/net";
    for allowed in [None, Some("yes"), Some("0")] {
        let target = target
            .clone()
            .with_env("CNI_NETNS", Some(own))
            .with_env("CNI_NETNS_OVERRIDE", allowed);
        assert_error(&plexus.runtime.add(&target), 4, &["CNI_NETNS", own]);
    }
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn an_invalid_environment_is_rejected() {
    rows!(
        "P-001", "P-003", "P-006", "P-008", "P-016", "P-018", "P-030", "P-032", "P-034", "P-063"
    );
    let node = node!();
    let plexus = Plexus::start(&node);
    let (sandbox, good) = plexus.sandbox("p", "");
    let with = |key: &str, value: Option<&str>| good.clone().with_env(key, value);
    let without_pod = CniTarget {
        pod: None,
        ..good.clone()
    };
    for (target, part) in [
        (with("CNI_COMMAND", Some("NOPE")), "NOPE"),
        (with("CNI_CONTAINERID", None), "CNI_CONTAINERID"),
        (with("CNI_CONTAINERID", Some("..")), "\"..\""),
        (with("CNI_CONTAINERID", Some("../x")), "\"../x\""),
        (with("CNI_NETNS", Some("")), "CNI_NETNS"),
        (
            with("CNI_IFNAME", Some("sixteen-bytes-xx")),
            "\"sixteen-bytes-xx\"",
        ),
        (with("CNI_IFNAME", Some("a/b")), "\"a/b\""),
        (with("CNI_ARGS", Some("nonsense")), "\"nonsense\""),
        (without_pod.clone(), "K8S_POD_NAME"),
        (without_pod, "Plexus serves pods"),
        (
            with("CNI_ARGS", Some("K8S_POD_NAME=p")),
            "CNI_ARGS has no K8S_POD_NAMESPACE;",
        ),
    ] {
        let output = plexus.runtime.add(&target);
        let msg = output.expect_code(4);
        assert!(msg.contains(part) && !msg.contains('\n'), "{part}: {msg}");
    }
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn an_invalid_configuration_on_stdin_is_rejected() {
    rows!(
        "P-001", "P-003", "P-006", "P-008", "P-016", "P-018", "P-030", "P-032", "P-034", "P-063"
    );
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("p");
    let env = [
        ("CNI_CONTAINERID", sandbox.id()),
        ("CNI_NETNS", sandbox.path()),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "K8S_POD_NAMESPACE=default;K8S_POD_NAME=p"),
    ];
    let env = env
        .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
        .into();
    for (stdin, code, part) in [
        ("{", 6, "JSON"),
        ("", 6, "JSON"),
        ("[]", 6, "JSON"),
        ("{\"cniVersion\": \"1.1.0\"}", 7, "name"),
        ("{\"cniVersion\": \"1.1.0\", \"name\": \"a/b\"}", 7, "a/b"),
        (
            "{\"cniVersion\": \"1.2.0\", \"name\": \"plexus\"}",
            1,
            "1.2.0",
        ),
        (
            "{\"cniVersion\": \"1.1.0\", \"name\": \"plexus\", \"addTimeout\": \"soon\"}",
            2,
            "addTimeout",
        ),
        (
            "{\"cniVersion\": \"1.1.0\", \"name\": \"plexus\", \"runtimeConfig\": 5}",
            7,
            "runtimeConfig",
        ),
    ] {
        let output = plexus.runtime.execute_raw("ADD", &env, stdin.into()).wait();
        let msg = output.expect_code(code);
        assert!(msg.contains(part) && !msg.contains('\n'), "{part}: {msg}");
    }
    let large = json!({"cniVersion": "1.1.0", "name": "plexus", "note": "x".repeat(4 << 20)});
    let output = plexus.runtime.execute("ADD", &env, &large).wait();
    output.expect_code(6);
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn an_invalid_pod_name_is_rejected_by_add_and_ignored_by_del() {
    rows!("P-018");
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("pod");
    let good = sandbox.target(&Pod::new("p"));
    let args = |namespace: &str, name: &str, uid: &str| {
        let text = format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={uid}");
        good.clone().with_env("CNI_ARGS", Some(&text))
    };
    let invalid = [
        ("K8S_POD_NAMESPACE", args("../etc", "p", "u")),
        ("K8S_POD_NAME", args("default", "../../p", "u")),
        ("K8S_POD_NAME", args("default", "..", "u")),
        ("K8S_POD_NAME", args("default", "p\nERROR forged", "u")),
        ("K8S_POD_UID", args("default", "p", "u/../v")),
        ("K8S_POD_UID", args("default", "p", "u\nERROR forged")),
    ];
    for (key, target) in &invalid {
        assert_error(&plexus.runtime.add(target), 4, &[key]);
    }
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.assert_nothing_left(&sandbox);
    // DEL uses the record, whatever the call says about the pod.
    for (_, target) in &invalid {
        plexus.runtime.add(&good).result();
        plexus.runtime.del(target).expect_success();
        plexus.assert_nothing_left(&sandbox);
    }
    let log = plexus.daemon.log();
    assert!(
        !log.lines().any(|line| line.starts_with("ERROR forged")) && log.contains("forged"),
        "{log}"
    );
}
