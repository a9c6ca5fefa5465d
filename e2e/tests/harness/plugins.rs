//! Scripted plugins follow their scripts and log their calls.

use std::collections::{BTreeMap, BTreeSet};

use plexus_e2e::{Flavour, Pod, Script, Step, Stream, node};
use serde_json::json;

use crate::scripted;

#[test]
fn a_call_is_logged() {
    let node = node!();
    let sandbox = node.sandbox("pod");
    let runtime = scripted(&node, Flavour::Containerd, &Script::new());
    let pod = Pod::new("p").annotated("a", "b");
    let target = sandbox
        .interface("eth7", &pod)
        .with_arg("FOO", "1")
        .with_env("TRACEPARENT", Some("t"));
    let output = runtime.add(&target);
    assert_eq!(
        output.result()["interfaces"],
        json!([{"name": "eth7", "sandbox": sandbox.path()}])
    );
    runtime.check(&target).expect_success();
    runtime.del(&target).expect_success();
    runtime.del(&target.without_netns()).expect_success();
    assert_eq!(
        node.call_summaries(),
        [
            "ADD fake eth7",
            "CHECK fake eth7",
            "DEL fake eth7",
            "DEL fake eth7"
        ]
    );
    let calls = node.calls();
    let [add, check, del, last_del] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert_eq!(add.env("CNI_CONTAINERID"), sandbox.id());
    assert_eq!(
        (add.env("CNI_NETNS"), add.env("TRACEPARENT")),
        (sandbox.path(), "t")
    );
    assert_eq!(
        add.config(),
        json!({"cniVersion": "1.0.0", "name": "net", "type": "fake"})
    );
    assert_eq!(check.config()["prevResult"], *output.result());
    assert!(del.config().get("prevResult").is_some());
    assert_eq!(last_del.config().get("prevResult"), None);
    assert_eq!(last_del.env("CNI_NETNS"), "");
    assert!(
        add.end
            .is_some_and(|end| end >= add.start && end <= check.start),
        "{calls:?}"
    );
    assert_eq!(add.leaked_fds(), BTreeMap::new());
    assert_ne!(add.netns, sandbox.inode());
    let (args, other_args) = (add.env("CNI_ARGS"), check.env("CNI_ARGS"));
    assert_ne!(args, other_args, "the order varies");
    let pairs = |args: &str| -> BTreeSet<_> { args.split(';').map(str::to_owned).collect() };
    assert_eq!(pairs(args), pairs(other_args));
    assert!(
        pairs(args).contains("FOO=1") && pairs(args).contains("K8S_POD_NAME=p"),
        "{args}"
    );
}

#[test]
fn plugins_follow_their_scripts() {
    let node = node!();
    let sandbox = node.sandbox("pod");
    let runtime = scripted(&node, Flavour::Containerd, &Script::new());
    let target = sandbox.target(&Pod::new("p"));
    let add = |steps: Vec<Step>| {
        node.plugin("fake", &Script::new().on("ADD", steps));
        runtime.add(&target)
    };
    let last_call = || node.calls().pop().expect("a call");

    let output = add(vec![Step::result("10.0.0.2/24", "10.0.0.1")]);
    assert_eq!(output.result()["cniVersion"], "1.0.0");
    assert_eq!(
        output.result()["routes"],
        json!([{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}])
    );

    let output = add(vec![Step::Stderr("log".into()), Step::error(11, "busy")]);
    assert_eq!(output.expect_code(11), "busy");
    assert_eq!(output.stderr.trim(), "log");

    let output = add(vec![Step::Stdout("garbage".into()), Step::Exit(3)]);
    assert_eq!((output.exit, output.stdout.as_str()), (Some(3), "garbage"));

    let output = add(vec![Step::Exit(0)]);
    assert_eq!((output.exit, output.stdout.as_str()), (Some(0), ""));

    let output = add(vec![Step::Signal(9)]);
    assert_eq!((output.exit, output.stdout.as_str()), (None, ""));
    assert_eq!(last_call().end, None);

    let output = add(vec![Step::Flood(Stream::Stdout, 3_000_000)]);
    assert_eq!((output.exit, output.stdout.len()), (Some(0), 3_000_000));

    let output = add(vec![Step::IgnoreStdin, Step::Result(json!({}))]);
    assert!(output.ok() && last_call().stdin.is_empty());

    let marker = node.scratch().join("marker");
    let touch = vec!["touch".to_owned(), marker.to_string_lossy().into()];
    add(vec![Step::Run(touch)]).result();
    assert!(marker.exists());
    let output = add(vec![Step::Run(vec!["false".into()])]);
    assert!(output.expect_code(999).contains("false"));

    add(vec![Step::link()]).result();
    assert!(sandbox.link("eth0").is_some());
    node.plugin("fake", &Script::new().on("DEL", [Step::Unlink]));
    runtime.del(&target).expect_success();
    assert!(sandbox.link("eth0").is_none());
    runtime.del(&target).expect_success();
    runtime.del(&target.without_netns()).expect_success();
}

#[test]
fn a_gate_holds_a_plugin() {
    let node = node!();
    let gate = node.gate("middle");
    let script = Script::new().on("ADD", [gate.step()]);
    let runtime = scripted(&node, Flavour::Containerd, &script);
    let start = |name: &str| runtime.start("ADD", &node.sandbox(name).target(&Pod::new("p")));
    let running = start("pod");
    let held = gate.wait();
    let calls = node.calls();
    assert!(calls.len() == 1 && calls[0].end.is_none(), "{calls:?}");
    held.release();
    running.wait().result();
    assert!(node.calls()[0].end.is_some());
    let running = start("pod2");
    let _held = gate.wait();
    assert_eq!(running.kill().exit, None);
}
