//! Plugins that fail, hang, or cannot be executed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use plexus_api::rows;
use plexus_e2e::{CniOutput, Plexus, Pod, Sandbox, Script, Step, Stream, attaches, node};
use serde_json::json;

use crate::assert_error;

/// Asserts that an ADD fails with `code` if the plugin of its second network runs `steps`, and that
/// everything is rolled back.
fn assert_rolled_back(
    plexus: &Plexus<'_>,
    sandbox: &Sandbox<'_>,
    steps: Vec<Step>,
    code: u64,
    cause: &str,
) -> CniOutput {
    let steps = [vec![Step::link()], steps].concat();
    plexus.network("a", &attaches().on("ADD", steps));
    plexus.node.forget_calls();
    let pod = Pod::new("p").with_networks("a");
    let output = plexus.runtime.add(&sandbox.target(&pod));
    let parts = [
        "ADD pod default/p",
        "network \"default/a\"",
        "interface \"net1\"",
        "plugin \"a\"",
        cause,
    ];
    assert_error(&output, code, &parts);
    assert_eq!(
        plexus.calls()[2..],
        ["DEL a net1", "DEL main eth0"],
        "{cause}"
    );
    plexus.assert_nothing_left(sandbox);
    output
}

#[test]
fn a_plugin_that_fails_is_rolled_back_and_its_cause_is_reported() {
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
        assert_rolled_back(&plexus, &sandbox, steps, code, cause);
    }
    let cause = "the result cannot be read";
    let output = assert_rolled_back(&plexus, &sandbox, vec![print("garbage")], 6, cause);
    assert!(
        output.stdout.contains("stdout: \\\"garbage\\\""),
        "{output:?}"
    );
}

#[test]
fn a_plugin_that_hangs_is_killed_after_its_timeout() {
    rows!("P-047", "R-049");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"pluginTimeout": "3s"}));
    let sandbox = node.sandbox("pod");
    assert_rolled_back(&plexus, &sandbox, vec![Step::Hang], 11, "longer than");
}

#[test]
fn a_child_of_a_plugin_that_hangs_is_killed_as_well() {
    rows!("P-047", "R-049");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"pluginTimeout": "3s"}));
    let sandbox = node.sandbox("pod");
    let steps = vec![Step::HoldOutput, Step::Hang];
    assert_rolled_back(&plexus, &sandbox, steps, 11, "longer than");
}

#[test]
fn a_plugin_that_prints_too_much_fails() {
    rows!("P-047", "T-012");
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("pod");
    let steps = vec![Step::Flood(Stream::Stdout, 100 << 20)];
    assert_rolled_back(&plexus, &sandbox, steps, 6, "more than");
}

#[test]
fn a_child_that_keeps_the_output_open_does_not_block_add() {
    rows!("R-049");
    let node = node!();
    let plexus = Plexus::start(&node);
    let script = attaches().on("ADD", [Step::link(), Step::HoldOutput]);
    plexus.network("a", &script);
    let (_, target) = plexus.attached("p", "a");
    plexus.runtime.del(&target).expect_success();
}

#[test]
fn a_plugin_that_cannot_be_executed_is_reported() {
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
    // Whether the default network is attached before the failure is found.
    for (content, mode, is_attached) in [
        ("x", 0o644, false),
        ("not a program", 0o755, true),
        ("#!/not/there\n", 0o755, true),
    ] {
        let _ = fs::remove_file(&plugin);
        fs::write(&plugin, content).expect("write the plugin");
        fs::set_permissions(&plugin, fs::Permissions::from_mode(mode)).expect("set the mode");
        node.forget_calls();
        assert_error(&plexus.runtime.add(&target), 102, &parts);
        // A plugin that was not started gets no DEL.
        let expected: &[&str] = if is_attached {
            &["ADD main eth0", "DEL main eth0"]
        } else {
            &[]
        };
        assert_eq!(plexus.calls(), expected, "{content}");
        plexus.assert_nothing_left(&sandbox);
    }
}
