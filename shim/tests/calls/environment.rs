//! Validation of the environment.

use std::collections::BTreeMap;

use plexus_api::rows;
use serde_json::json;

use crate::support::{Node, add_response, response};

const ALL: [&str; 4] = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"];

/// The variables that each verb requires in addition to `CNI_COMMAND`.
const REQUIRED: [(&str, &[&str]); 5] = [
    ("ADD", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
    ("CHECK", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
    ("DEL", &["CNI_CONTAINERID", "CNI_IFNAME"]),
    ("GC", &["CNI_PATH"]),
    ("STATUS", &[]),
];

#[test]
fn an_unknown_verb_is_refused() {
    rows!("P-001");
    for verb in ["NOPE", "add", "ADD ", "Version"] {
        let node = Node::new();
        let daemon = node.unused_daemon();
        let error = node.shim(verb).run().error();
        assert_eq!(error.code, 4);
        assert!(error.msg.contains(&format!("{verb:?}")), "{error:?}");
        daemon.assert_unused();
    }
}

#[test]
fn every_verb_of_the_specification_reaches_the_daemon() {
    rows!("P-001");
    for (verb, _) in REQUIRED {
        let node = Node::new();
        let daemon = node.daemon([add_response()]);
        assert_eq!(node.shim(verb).run().code, Some(0), "{verb}");
        assert_eq!(daemon.only_call().request().env["CNI_COMMAND"], verb);
    }
}

#[test]
fn without_a_command_the_shim_prints_its_usage() {
    rows!("P-002", "P-005");
    for shim in [
        Node::new().shim("").without("CNI_COMMAND"),
        Node::new().shim(""),
        Node::new().shim("").arg("help"),
    ] {
        let finished = shim.run();
        finished.assert_silent();
        for version in [
            "plexus", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
        ] {
            assert!(finished.stderr.contains(version), "{finished:?}");
        }
    }
}

#[test]
fn a_missing_variable_is_an_error_only_if_required() {
    rows!("P-003", "P-005", "P-014", "P-020");
    for (verb, required) in REQUIRED {
        for variable in ALL {
            for empty in [false, true] {
                let node = Node::new();
                let daemon = node.daemon([add_response()]);
                let finished = if empty {
                    node.shim(verb).env(variable, "").run()
                } else {
                    node.shim(verb).without(variable).run()
                };
                if required.contains(&variable) {
                    let error = finished.error();
                    assert_eq!(error.code, 4, "{verb} without {variable}");
                    assert!(error.msg.contains(variable), "{error:?}");
                    assert!(daemon.calls().is_empty());
                } else {
                    assert_eq!(
                        finished.code,
                        Some(0),
                        "{verb} without {variable}: {finished:?}"
                    );
                    let expected = empty.then(String::new);
                    assert_eq!(
                        daemon.only_call().request().env.get(variable),
                        expected.as_ref()
                    );
                }
            }
        }
    }
}

#[test]
fn all_missing_variables_are_named_at_once() {
    rows!("P-004");
    let node = Node::new();
    let error = node
        .shim("ADD")
        .without("CNI_NETNS")
        .without("CNI_IFNAME")
        .run()
        .error();
    assert!(
        error.msg.contains("CNI_NETNS") && error.msg.contains("CNI_IFNAME"),
        "{error:?}"
    );
    assert!(!error.msg.contains("CNI_CONTAINERID"), "{error:?}");
}

#[test]
fn a_container_id_must_be_valid() {
    rows!("P-006");
    for verb in ["ADD", "CHECK", "DEL"] {
        for (id, valid) in [
            ("abc_1.2-x", true),
            ("a..b", true),
            ("../x", false),
            ("a\n", false),
            ("ä", false),
        ] {
            let node = Node::new();
            let daemon = node.daemon([add_response()]);
            let finished = node.shim(verb).env("CNI_CONTAINERID", id).run();
            if valid {
                assert_eq!(finished.code, Some(0), "{verb} {id}: {finished:?}");
            } else {
                assert_eq!(finished.error().code, 4, "{verb} {id}");
            }
            assert_eq!(daemon.calls().len(), usize::from(valid), "{verb} {id}");
        }
    }
}

#[test]
fn an_interface_name_must_be_valid() {
    rows!("P-008", "P-009", "P-010");
    for (name, valid) in [
        ("eth7", true),
        ("...", true),
        ("aaaaaaaaaaaaaaa", true),
        ("aaaaaaaaaaaaaaaa", false),
        ("éééééééé", false),
        ("..", false),
        ("a/b", false),
        ("a:b", false),
        ("a\u{a0}b", false),
        ("net%d", false),
    ] {
        let node = Node::new();
        let daemon = node.daemon([add_response()]);
        let finished = node.shim("ADD").env("CNI_IFNAME", name).run();
        if valid {
            assert_eq!(finished.code, Some(0), "{name}: {finished:?}");
            assert_eq!(daemon.only_call().request().env["CNI_IFNAME"], name);
        } else {
            assert_eq!(finished.error().code, 4, "{name}");
            assert!(daemon.calls().is_empty(), "{name}");
        }
    }
}

#[test]
fn the_callers_own_network_namespace_is_refused_before_anything_is_done() {
    rows!("P-012", "P-013");
    let own = "/proc/self/ns/net";
    for verb in ["ADD", "DEL"] {
        for (allow, allowed) in [
            (None, false),
            (Some("yes"), false),
            (Some("0"), false),
            (Some("1"), true),
            (Some("TRUE"), true),
        ] {
            let node = Node::new();
            let daemon = node.daemon([add_response()]);
            let shim = node.shim(verb).env("CNI_NETNS", own);
            let finished = allow
                .into_iter()
                .fold(shim, |shim, value| shim.env("CNI_NETNS_OVERRIDE", value))
                .run();
            if allowed {
                assert_eq!(finished.code, Some(0), "{verb} {allow:?}: {finished:?}");
                assert_eq!(daemon.only_call().request().env["CNI_NETNS"], own);
            } else {
                let error = finished.error();
                assert_eq!(error.code, 4, "{verb} {allow:?}");
                assert!(error.msg.contains("CNI_NETNS"), "{error:?}");
                assert!(daemon.calls().is_empty(), "{verb} {allow:?}");
            }
        }
    }
}

#[test]
fn del_works_with_an_invalid_netns() {
    rows!("P-014");
    let node = Node::new();
    let file = node.path("file");
    std::fs::write(&file, "").expect("write");
    let gone = node.path("gone");
    for netns in [
        file.to_str().expect("UTF-8"),
        gone.to_str().expect("UTF-8"),
        "",
    ] {
        let node = Node::new();
        let daemon = node.daemon([response(200, "")]);
        node.shim("DEL")
            .env("CNI_NETNS", netns)
            .run()
            .assert_silent();
        assert_eq!(daemon.only_call().request().env["CNI_NETNS"], netns);
    }
}

#[test]
fn the_shim_does_not_validate_cni_args() {
    rows!("P-015", "P-016", "P-017");
    for args in [
        "x",
        "A=b=c;",
        "",
        "IgnoreUnknown=maybe",
        "IgnoreUnknown=1;FOO=bar;K8S_POD_NAME=p",
    ] {
        let node = Node::new();
        let daemon = node.daemon([response(200, "")]);
        node.shim("DEL").env("CNI_ARGS", args).run().assert_silent();
        assert_eq!(daemon.only_call().request().env["CNI_ARGS"], args);
    }
}

#[test]
fn a_variable_that_is_not_utf8_does_not_stop_del() {
    use std::os::unix::ffi::OsStrExt as _;
    let node = Node::new();
    let daemon = node.daemon([response(200, "")]);
    node.shim("DEL")
        .env("CNI_ARGS", std::ffi::OsStr::from_bytes(b"A=\xff"))
        .run()
        .assert_silent();
    assert_eq!(daemon.only_call().request().env["CNI_ARGS"], "A=\u{fffd}");
}

#[test]
fn status_accepts_the_empty_variables_of_libcni() {
    rows!("P-005");
    let node = Node::new();
    let daemon = node.daemon([response(200, "")]);
    let env = BTreeMap::from([
        ("CNI_COMMAND", "STATUS"),
        ("CNI_CONTAINERID", ""),
        ("CNI_NETNS", ""),
        ("CNI_IFNAME", ""),
        ("CNI_ARGS", ""),
        ("CNI_PATH", "/opt/cni/bin"),
    ]);
    node.shim("STATUS")
        .envs(&env)
        .stdin(node.config(json!({})))
        .run()
        .assert_silent();
    assert_eq!(daemon.calls().len(), 1);
}
