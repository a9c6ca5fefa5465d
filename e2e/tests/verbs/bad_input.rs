//! Bad input gets a clear error and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use plexus_api::rows;
use plexus_e2e::{Answer, Pod, Sandbox, Script, Step, Stream, Target, node};
use serde_json::json;

use crate::plexus::{Plexus, attaches, runtime, target};

/// An error of this code, in one line that has all of `parts`, and none twice.
#[track_caller]
fn expect(answer: &Answer, code: u64, parts: &[&str]) {
    let msg = answer.expect_code(code);
    for part in parts {
        assert_eq!(msg.matches(part).count(), 1, "{part} once in: {msg}");
    }
    assert!(!msg.contains('\n') && msg.len() < 800, "{msg}");
    assert_eq!(answer.stdout.trim_end().lines().count(), 1, "{answer:?}");
}

#[test]
fn definitions_that_cannot_be_used() {
    rows!("P-047", "R-005", "R-041", "K-004", "K-071");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"lookupWait": "10ms"}));
    node.plugin("a", &attaches());
    let sandbox = node.sandbox("pod");
    for (name, config, code, cause) in [
        ("broken", "{\"cniVersion\": \"1.0.0\", \"type\"", 6, "JSON"),
        ("list", "[]", 6, "object"),
        ("typeless", "{\"cniVersion\": \"1.0.0\"}", 7, "no plugin"),
        (
            "empty",
            "{\"cniVersion\": \"1.0.0\", \"plugins\": []}",
            7,
            "plugins",
        ),
        (
            "path",
            "{\"cniVersion\": \"1.0.0\", \"type\": \"../../bin/sh\"}",
            7,
            "../../bin/sh",
        ),
        (
            "named",
            "{\"cniVersion\": \"1.0.0\", \"name\": \"../x\", \"type\": \"a\"}",
            7,
            "../x",
        ),
        (
            "future",
            "{\"cniVersion\": \"2.0.0\", \"type\": \"a\"}",
            1,
            "2.0.0",
        ),
        (
            "us",
            "{\"cniVersion\": \"1.0.0\", \"type\": \"plexus\"}",
            7,
            "plexus",
        ),
        (
            "them",
            "{\"cniVersion\": \"1.0.0\", \"type\": \"multus\"}",
            7,
            "multus",
        ),
        (
            "shim",
            "{\"cniVersion\": \"1.0.0\", \"plugins\": [{\"type\": \"a\"}, {\"type\": \"multus-shim\"}]}",
            7,
            "multus-shim",
        ),
        (
            "deep",
            "{\"cniVersion\": \"1.0.0\", \"type\": \"a\", \"x\": [{\"delegate\": {\"type\": \"multus\"}}]}",
            7,
            "multus",
        ),
        ("absent", "", 102, "\"absent-plugin\""),
        ("unknown", "", 104, "no network-attachment-definition"),
    ] {
        match name {
            "unknown" => {}
            "absent" => {
                plexus.manifests.definition(
                    name,
                    &json!({"cniVersion": "1.0.0", "type": "absent-plugin"}),
                );
            }
            _ => plexus
                .manifests
                .definition_in("default", name, Some(config)),
        }
        let runtime = &plexus.runtime;
        let answer = runtime.add(&target(
            &sandbox,
            &Pod::new("p").with_networks(format!("{name}@if-{name}")),
        ));
        let (network, ifname) = (format!("\"default/{name}\""), format!("\"if-{name}\""));
        expect(
            &answer,
            code,
            &["ADD pod default/p", &network, &ifname, cause],
        );
        assert_eq!(plexus.calls(), [""; 0], "{name}: no plugin has run");
        plexus.assert_nothing_left(&sandbox);
    }
}

/// That an ADD whose second network does this fails with `code`, and leaves nothing.
fn misbehave(
    plexus: &Plexus<'_>,
    sandbox: &Sandbox<'_>,
    steps: Vec<Step>,
    code: u64,
    cause: &str,
) -> Answer {
    let steps = [vec![Step::Link("bridge".into())], steps].concat();
    plexus.network("a", &attaches().on("ADD", steps));
    plexus.node.forget_calls();
    let answer = plexus
        .runtime
        .add(&target(sandbox, &Pod::new("p").with_networks("a")));
    let parts = [
        "ADD pod default/p",
        "network \"default/a\"",
        "interface \"net1\"",
        "plugin \"a\"",
        cause,
    ];
    expect(&answer, code, &parts);
    assert_eq!(
        plexus.calls()[2..],
        ["DEL a net1", "DEL main eth0"],
        "{cause}"
    );
    plexus.assert_nothing_left(sandbox);
    answer
}

#[test]
fn plugins_that_fail() {
    rows!("P-047", "R-046", "T-005");
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("pod");
    node.plugin("main", &Script::new());
    let print = |text: &str| Step::Stdout(text.into());
    for (steps, code, cause) in [
        (vec![print("garbage"), Step::Exit(3)], 101, "exit status 3"),
        (
            vec![Step::Stderr("boom".into()), Step::Exit(1)],
            101,
            "boom",
        ),
        (vec![Step::Exit(1)], 101, "exit status 1"),
        (vec![Step::Exit(0)], 6, "no result"),
        (vec![print("{\"cniVersion\": \"9.9.9\"}")], 1, "9.9.9"),
        (
            vec![print("{\"ips\": [{\"address\": \"10.0.0.300/24\"}]}")],
            6,
            "10.0.0.300",
        ),
        (vec![Step::Signal(9)], 101, "SIGKILL"),
        (vec![Step::Signal(15)], 101, "SIGTERM"),
    ] {
        misbehave(&plexus, &sandbox, steps, code, cause);
    }
    let answer = misbehave(
        &plexus,
        &sandbox,
        vec![print("garbage")],
        6,
        "the result cannot be read",
    );
    assert!(
        answer.stdout.contains("stdout: \\\"garbage\\\""),
        "{answer:?}"
    );
}

#[test]
fn a_plugin_that_hangs() {
    rows!("P-047", "R-049");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"pluginTimeout": "800ms"}));
    let sandbox = node.sandbox("pod");
    misbehave(&plexus, &sandbox, vec![Step::Hang], 11, "longer than");
}

#[test]
fn a_plugin_that_hangs_with_its_child() {
    rows!("P-047", "R-049");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"pluginTimeout": "800ms"}));
    let sandbox = node.sandbox("pod");
    misbehave(
        &plexus,
        &sandbox,
        vec![Step::HoldOutput, Step::Hang],
        11,
        "longer than",
    );
}

#[test]
fn a_plugin_that_prints_without_end() {
    rows!("P-047", "T-012");
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("pod");
    let flood = vec![Step::Flood(Stream::Stdout, 100 << 20)];
    misbehave(&plexus, &sandbox, flood, 6, "more than");
}

#[test]
fn a_plugin_that_leaves_a_child_behind_does_not_block() {
    rows!("R-049");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network(
        "a",
        &attaches().on("ADD", [Step::Link("bridge".into()), Step::HoldOutput]),
    );
    let (_, target) = plexus.attached("p", "a");
    plexus.runtime.del(&target).expect_silence();
}

#[test]
fn plugins_that_cannot_be_executed() {
    rows!("P-047", "R-040");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a");
    let plugin = node.bin_dir().join("a");
    let parts = [
        "ADD pod default/p",
        "network \"default/a\"",
        "interface \"net1\"",
        "plugin \"a\"",
    ];
    for (content, mode, ran) in [
        ("x", 0o644, false),
        ("not a program", 0o755, true),
        ("#!/not/there\n", 0o755, true),
    ] {
        let _ = fs::remove_file(&plugin);
        fs::write(&plugin, content).expect("it can be written");
        fs::set_permissions(&plugin, fs::Permissions::from_mode(mode)).expect("it is ours");
        node.forget_calls();
        expect(&plexus.runtime.add(&target), 102, &parts);
        // What could not be started needs no DEL, and gets none.
        let expected: &[&str] = if ran {
            &["ADD main eth0", "DEL main eth0"]
        } else {
            &[]
        };
        assert_eq!(plexus.calls(), expected, "{content}");
        plexus.assert_nothing_left(&sandbox);
    }
}

#[test]
fn annotations_that_cannot_be_read() {
    rows!("K-023", "K-026", "K-040", "K-046");
    let node = node!();
    let plexus = Plexus::start(&node);
    let runtime = runtime(&node, json!({"capabilities": null}));
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
        let answer = runtime.add(&target(&sandbox, &pod));
        let subject = format!("ADD pod default/{}:", pod.name);
        let mut all = vec![subject.as_str(), "k8s.v1.cni.cncf.io/networks"];
        all.extend(parts);
        expect(&answer, 105, &all);
        assert_eq!(plexus.calls(), [""; 0], "{annotation}");
        plexus.assert_nothing_left(&sandbox);
    }
}

#[test]
fn names_that_are_taken() {
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
        let answer = plexus
            .runtime
            .add(&target(&sandbox, &Pod::new("p").with_networks(annotation)));
        expect(
            &answer,
            103,
            &[
                "ADD pod default/p",
                " interface ",
                &format!("{ifname:?}"),
                "taken",
            ],
        );
        assert_eq!(plexus.calls(), [""; 0], "{annotation}");
    }
    sandbox.ip("link del there");
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn sandboxes_that_are_none() {
    rows!("P-011", "P-012", "P-013");
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("pod");
    let file = node.scratch().join("file");
    let dangling = node.scratch().join("dangling");
    fs::write(&file, "").expect("it can be written");
    std::os::unix::fs::symlink("/not/there", &dangling).expect("it can be made");
    let target = target(&sandbox, &Pod::new("p"));
    for netns in [&file, &dangling, &node.scratch().to_owned()] {
        let netns = netns.to_str().expect("it is text");
        let answer = plexus
            .runtime
            .add(&target.clone().with_env("CNI_NETNS", Some(netns)));
        expect(&answer, 4, &["ADD pod default/p", "CNI_NETNS", netns]);
    }
    for (own, code) in [(None, 4), (Some("yes"), 4), (Some("0"), 4)] {
        let own = target
            .clone()
            .with_env("CNI_NETNS", Some("/proc/self/ns/net"))
            .with_env("CNI_NETNS_OVERRIDE", own);
        expect(
            &plexus.runtime.add(&own),
            code,
            &["CNI_NETNS", "/proc/self/ns/net"],
        );
    }
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn calls_that_are_none() {
    rows!(
        "P-001", "P-003", "P-006", "P-008", "P-016", "P-018", "P-030", "P-032", "P-034", "P-063"
    );
    let node = node!();
    let plexus = Plexus::start(&node);
    let (sandbox, good) = plexus.sandbox("p", "");
    let with = |key: &str, value: Option<&str>| good.clone().with_env(key, value);
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
        (
            Target {
                pod: None,
                ..good.clone()
            },
            "K8S_POD_NAME",
        ),
        (
            with("CNI_ARGS", Some("K8S_POD_NAME=p")),
            "K8S_POD_NAMESPACE",
        ),
    ] {
        let answer = plexus.runtime.add(&target);
        let msg = answer.expect_code(4);
        assert!(msg.contains(part) && !msg.contains('\n'), "{part}: {msg}");
    }
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
        let answer = plexus.runtime.execute_raw("ADD", &env, stdin.into()).wait();
        let msg = answer.expect_code(code);
        assert!(msg.contains(part) && !msg.contains('\n'), "{part}: {msg}");
    }
    let large = json!({"cniVersion": "1.1.0", "name": "plexus", "note": "x".repeat(4 << 20)});
    plexus
        .runtime
        .execute("ADD", &env, &large)
        .wait()
        .expect_code(6);
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_pod_that_cannot_be_called_so() {
    rows!("P-018");
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("pod");
    let good = target(&sandbox, &Pod::new("p"));
    let args = |namespace: &str, name: &str, uid: &str| {
        let text = format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={uid}");
        good.clone().with_env("CNI_ARGS", Some(&text))
    };
    let wrong = [
        ("K8S_POD_NAMESPACE", args("../etc", "p", "u")),
        ("K8S_POD_NAME", args("default", "../../p", "u")),
        ("K8S_POD_NAME", args("default", "..", "u")),
        ("K8S_POD_NAME", args("default", "p\nERROR forged", "u")),
        ("K8S_POD_UID", args("default", "p", "u/../v")),
        ("K8S_POD_UID", args("default", "p", "u\nERROR forged")),
    ];
    for (key, target) in &wrong {
        expect(&plexus.runtime.add(target), 4, &[key]);
    }
    assert_eq!(plexus.calls(), [""; 0]);
    plexus.assert_nothing_left(&sandbox);
    // What is in the ledger is deleted, whatever the call says of the pod.
    for (_, target) in &wrong {
        plexus.runtime.add(&good).result();
        plexus.runtime.del(target).expect_silence();
        plexus.assert_nothing_left(&sandbox);
    }
    let log = plexus.daemon.log();
    assert!(
        !log.lines().any(|line| line.starts_with("ERROR forged")) && log.contains("forged"),
        "{log}"
    );
}

#[test]
fn a_pod_that_is_not_known() {
    rows!("P-042");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"lookupWait": "10ms"}));
    let runtime = runtime(&node, json!({"capabilities": null}));
    let (sandbox, target) = plexus.sandbox("p", "");
    expect(
        &runtime.add(&target),
        11,
        &["ADD pod default/p", "not known"],
    );
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn secrets_are_not_told() {
    rows!("P-047");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &Script::new());
    for (name, config) in [
        ("broken", "{\"token\": \"s3cret\", \"type\": \"a\",,}"),
        (
            "wrong",
            "{\"token\": \"s3cret\", \"cniVersion\": \"1.0.0\", \"type\": 5}",
        ),
        (
            "missing",
            "{\"token\": \"s3cret\", \"cniVersion\": \"1.0.0\", \"type\": \"not-there\"}",
        ),
    ] {
        plexus
            .manifests
            .definition_in("default", name, Some(config));
        let sandbox = node.sandbox(name);
        let answer = plexus
            .runtime
            .add(&target(&sandbox, &Pod::new("p").with_networks(name)));
        assert!(
            !answer.ok() && !answer.stdout.contains("s3cret") && !answer.stderr.contains("s3cret"),
            "{answer:?}"
        );
    }
    assert!(
        !plexus.daemon.log().contains("s3cret"),
        "{}",
        plexus.daemon.log()
    );
}
