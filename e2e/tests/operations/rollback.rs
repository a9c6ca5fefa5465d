//! An ADD that fails leaves nothing behind.

use std::process::Command;

use plexus_api::rows;
use plexus_e2e::{Plexus, Pod, Script, Step, attaches, node};
use serde_json::json;

#[test]
fn a_failed_add_is_undone_in_reverse_order() {
    rows!("P-037", "P-084", "P-085", "K-060", "R-067", "R-104");
    let node = node!();
    let plexus = Plexus::start(&node);
    let add = [Step::link(), Step::error(120, "no address left")];
    let fails = attaches().on("ADD", add).fails("DEL", 7, "nor can this");
    plexus.network("a", &attaches());
    plexus.network("b", &fails);
    plexus.network("c", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a,b,c");
    let output = plexus.runtime.add(&target);
    assert_eq!(
        output.expect_code(120),
        "ADD pod default/p: network \"default/b\" interface \"net2\": plugin \"b\": no address left (code 120)"
    );
    let expected = [
        "ADD main eth0",
        "ADD a net1",
        "ADD b net2",
        "DEL b net2",
        "DEL a net1",
        "DEL main eth0",
    ];
    assert_eq!(plexus.calls(), expected);
    // The DEL of the runtime deletes what the rollback could not delete.
    node.plugin("b", &attaches());
    plexus.runtime.del(&target).expect_success();
    assert_eq!(plexus.calls()[6..], ["DEL b net2"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn no_other_network_is_attached_after_the_default_network_failed() {
    rows!("K-060", "P-041", "P-043");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a");
    for code in [3, 7, 11, 50, 51, 120, 999] {
        node.plugin("main", &attaches().fails("ADD", code, "busy"));
        node.forget_calls();
        let output = plexus.runtime.add(&target);
        assert_eq!(
            output.expect_code(code.into()),
            format!(
                "ADD pod default/p: network \"pods\" interface \"eth0\": plugin \"main\": busy (code {code})"
            )
        );
        assert_eq!(plexus.calls(), ["ADD main eth0", "DEL main eth0"]);
        plexus.assert_nothing_left(&sandbox);
    }
}

#[test]
fn code_3_becomes_101_if_something_was_attached_or_the_rollback_failed() {
    rows!("P-041");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches().fails("ADD", 3, "what container?"));
    let (sandbox, target) = plexus.sandbox("p", "a");
    let output = plexus.runtime.add(&target);
    output.expect_error(101, &["what container?"]);
    plexus.assert_nothing_left(&sandbox);
    let fails = Script::new()
        .fails("ADD", 3, "what container?")
        .fails("DEL", 7, "broken");
    node.plugin("main", &fails);
    plexus.runtime.add(&target).expect_code(101);
}

#[test]
fn an_interface_that_an_earlier_plugin_created_is_kept() {
    rows!("P-080");
    let node = node!();
    let plexus = Plexus::start(&node);
    let command = "ip -n p link add net1 type bridge".split(' ');
    let add = [
        Step::Run(command.map(str::to_owned).collect()),
        Step::link(),
    ];
    node.plugin("main", &attaches().on("ADD", add));
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a");
    let output = plexus.runtime.add(&target);
    output.expect_error(103, &["net1", "default/a", "default/p"]);
    assert_eq!(plexus.calls(), ["ADD main eth0", "DEL main eth0"]);
    assert!(sandbox.link("net1").is_some() && sandbox.link("eth0").is_none());
}

#[test]
fn an_interface_that_existed_before_add_is_kept() {
    rows!("P-080");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a");
    sandbox.ip("link add net1 type bridge");
    let before = sandbox.link("net1");
    let output = plexus.runtime.add(&target);
    output.expect_error(103, &["net1", "default/a", "default/p"]);
    assert_eq!(plexus.calls(), [""; 0]);
    assert_eq!(sandbox.link("net1"), before);
    sandbox.ip("link del net1");
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn add_is_rolled_back_if_a_default_route_cannot_be_set() {
    rows!("P-086");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").with_networks(r#"[{"name": "a", "default-route": ["192.0.2.1"]}]"#);
    let output = plexus.runtime.add(&sandbox.target(&pod));
    output.expect_error(109, &["default/a", "net1", "192.0.2.1"]);
    assert_eq!(plexus.calls()[2..], ["DEL a net1", "DEL main eth0"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn add_is_rolled_back_if_the_runtimes_version_cannot_express_the_result() {
    rows!("P-086");
    let node = node!();
    let plexus = Plexus::start(&node);
    let result = Step::Result(json!({"cniVersion": "1.0.0"}));
    node.plugin("main", &attaches().on("ADD", [result]));
    let runtime = plexus.runtime_with(json!({"cniVersion": "0.2.0"}));
    let (sandbox, target) = plexus.sandbox("p", "");
    let output = runtime.add(&target);
    assert!(!output.ok() && output.msg().contains("0.2.0"), "{output:?}");
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn add_fails_before_any_plugin_runs_if_the_record_cannot_be_written() {
    rows!("R-085");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (sandbox, target) = plexus.sandbox("p", "");
    let mount = |command: &str| {
        let status = node.run(|| Command::new("sh").args(["-c", command]).status());
        assert!(status.expect("sh").success(), "{command}");
    };
    mount("mount --bind /var/lib/plexus/ledger /var/lib/plexus/ledger");
    mount("mount -o remount,bind,ro /var/lib/plexus/ledger");
    let output = plexus.runtime.add(&target);
    output.expect_error(110, &["default/p"]);
    assert_eq!(plexus.calls(), [""; 0]);
    mount("umount /var/lib/plexus/ledger");
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn an_add_whose_caller_was_killed_is_undone() {
    rows!("C-12", "R-050");
    let node = node!();
    // No time limit ends the plugin.
    let keys = json!({"addTimeout": "10m", "pluginTimeout": "10m"});
    let plexus = Plexus::start_with(&node, keys);
    let (adding, deleted) = (node.gate("adding"), node.gate("deleted"));
    let script = attaches().on("DEL", [Step::Unlink, deleted.step()]);
    node.plugin("main", &script);
    let script = attaches().on("ADD", [Step::link(), adding.step()]);
    plexus.network("a", &script);
    plexus.network("b", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a,b");
    let running = plexus.runtime.start("ADD", &target);
    let _held = adding.wait();
    running.kill();
    deleted.wait().release();
    // This DEL waits until the ADD is undone, and finds nothing to delete.
    plexus.runtime.del(&target).expect_success();
    assert_eq!(
        plexus.calls(),
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    plexus.assert_nothing_left(&sandbox);
}
