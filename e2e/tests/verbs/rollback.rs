//! An ADD that fails leaves nothing behind.

use plexus_api::rows;
use plexus_e2e::{Changes, Pod, Script, Step, node};
use serde_json::json;
use std::fs;

use crate::plexus::{Plexus, attaches, target};

#[test]
fn all_that_was_tried_is_deleted_in_reverse_order() {
    rows!("P-037", "P-084", "P-085", "K-060", "R-067", "R-104");
    let node = node!();
    let plexus = Plexus::start(&node);
    let fails = attaches().on(
        "ADD",
        [
            Step::Link("bridge".into()),
            Step::error(120, "no address left"),
        ],
    );
    plexus.network("a", &attaches());
    plexus.network("b", &fails.fails("DEL", 7, "nor can this"));
    plexus.network("c", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a,b,c");
    let answer = plexus.runtime.add(&target);
    let msg = answer.expect_code(120);
    assert_eq!(
        msg,
        "ADD pod default/p: network \"default/b\" interface \"net2\": plugin \"b\": no address left"
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
    // What could not be deleted is kept, and deleted when the runtime comes for it.
    node.plugin("b", &attaches());
    plexus.runtime.del(&target).expect_silence();
    assert_eq!(plexus.calls()[6..], ["DEL b net2"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn the_default_network_that_fails_ends_it() {
    rows!("K-060", "P-041", "P-043");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a");
    for code in [3, 7, 11, 50, 51, 120, 999] {
        node.plugin("main", &attaches().fails("ADD", code, "busy"));
        node.forget_calls();
        let answer = plexus.runtime.add(&target);
        let msg = answer.expect_code(code.into());
        assert_eq!(
            msg,
            "ADD pod default/p: network \"pods\" interface \"eth0\": plugin \"main\": busy"
        );
        assert_eq!(plexus.calls(), ["ADD main eth0", "DEL main eth0"]);
        plexus.assert_nothing_left(&sandbox);
    }
}

#[test]
fn code_3_is_not_told_where_something_was_made() {
    rows!("P-041");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches().fails("ADD", 3, "what container?"));
    let (sandbox, target) = plexus.sandbox("p", "a");
    plexus
        .runtime
        .add(&target)
        .expect_error(101, &["what container?"]);
    plexus.assert_nothing_left(&sandbox);
    // Nor where the clean-up has failed.
    node.plugin(
        "main",
        &Script::new()
            .fails("ADD", 3, "what container?")
            .fails("DEL", 7, "broken"),
    );
    plexus.runtime.add(&target).expect_code(101);
}

#[test]
fn an_interface_that_an_earlier_plugin_made_stays() {
    rows!("P-080");
    let node = node!();
    let plexus = Plexus::start(&node);
    let words = "ip -n p link add net1 type bridge"
        .split(' ')
        .map(str::to_owned)
        .collect();
    node.plugin(
        "main",
        &attaches().on("ADD", [Step::Run(words), Step::Link("bridge".into())]),
    );
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a");
    plexus
        .runtime
        .add(&target)
        .expect_error(103, &["net1", "default/a", "default/p"]);
    assert_eq!(plexus.calls(), ["ADD main eth0", "DEL main eth0"]);
    assert!(sandbox.link("net1").is_some() && sandbox.link("eth0").is_none());
}

#[test]
fn an_interface_that_was_there_stays() {
    rows!("P-080");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a");
    sandbox.ip("link add net1 type bridge");
    let before = sandbox.link("net1");
    plexus
        .runtime
        .add(&target)
        .expect_error(103, &["net1", "default/a", "default/p"]);
    assert_eq!(plexus.calls(), [""; 0]);
    assert_eq!(sandbox.link("net1"), before);
    sandbox.ip("link del net1");
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_status_that_must_be_written_and_cannot_be() {
    rows!("P-086");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"statusRequired": true}));
    plexus.network("a", &attaches());
    let pod = Pod::new("p").with_networks("a");
    let in_the_way = plexus.manifests.dir().join("default.p.network-status.json");
    fs::create_dir_all(in_the_way.join("x")).expect("it can be made");
    let sandbox = node.sandbox("pod");
    plexus
        .runtime
        .add(&target(&sandbox, &pod))
        .expect_error(11, &["network-status"]);
    fs::remove_dir_all(in_the_way).expect("it can be removed");
    assert_eq!(plexus.calls()[2..], ["DEL a net1", "DEL main eth0"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_status_that_cannot_be_written_is_written_later() {
    rows!("K-092");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"recoveryInterval": "10ms"}));
    let pod = Pod::new("p");
    let in_the_way = plexus.manifests.dir().join("default.p.network-status.json");
    fs::create_dir_all(in_the_way.join("x")).expect("it can be made");
    let sandbox = node.sandbox("pod");
    let target = target(&sandbox, &pod);
    plexus.runtime.add(&target).result();
    fs::remove_dir_all(in_the_way).expect("it can be removed");
    Changes::watch(&node, &[plexus.manifests.dir()])
        .until_none(|| plexus.status(&pod).is_none().then_some("no status"));
    assert_eq!(
        plexus.status(&pod).expect("it was written")[0]["name"],
        "pods"
    );
    plexus.runtime.del(&target).expect_silence();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_default_route_that_cannot_be_set() {
    rows!("P-086");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").with_networks(r#"[{"name": "a", "default-route": ["192.0.2.1"]}]"#);
    plexus
        .runtime
        .add(&target(&sandbox, &pod))
        .expect_error(109, &["default/a", "net1", "192.0.2.1"]);
    assert_eq!(plexus.calls()[2..], ["DEL a net1", "DEL main eth0"]);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_result_that_the_runtime_cannot_be_told() {
    rows!("P-086");
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin(
        "main",
        &attaches().on("ADD", [Step::Result(json!({"cniVersion": "1.0.0"}))]),
    );
    let runtime = crate::plexus::runtime(&node, json!({"cniVersion": "0.2.0"}));
    let (sandbox, target) = plexus.sandbox("p", "");
    let answer = runtime.add(&target);
    assert!(!answer.ok() && answer.msg().contains("0.2.0"), "{answer:?}");
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn a_ledger_that_cannot_be_written_stops_it_before_a_plugin_runs() {
    rows!("R-085");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (sandbox, target) = plexus.sandbox("p", "");
    let in_the_way = format!("/var/lib/plexus/ledger/{}:eth0.jsonl", sandbox.id());
    node.run(|| fs::create_dir(&in_the_way).expect("it can be made"));
    plexus
        .runtime
        .add(&target)
        .expect_error(110, &["default/p"]);
    assert_eq!(plexus.calls(), [""; 0]);
    node.run(|| fs::remove_dir(&in_the_way).expect("it can be removed"));
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn an_add_whose_caller_is_gone_is_undone() {
    rows!("C-12", "R-050");
    let node = node!();
    let plexus = Plexus::start(&node);
    let (adding, deleted) = (node.gate("adding"), node.gate("deleted"));
    node.plugin(
        "main",
        &attaches().on("DEL", [Step::Unlink, deleted.step()]),
    );
    plexus.network(
        "a",
        &attaches().on("ADD", [Step::Link("bridge".into()), adding.step()]),
    );
    plexus.network("b", &attaches());
    let (sandbox, target) = plexus.sandbox("p", "a,b");
    let running = plexus.runtime.start("ADD", &target);
    let _held = adding.wait();
    running.kill();
    deleted.wait().release();
    // It waits for its turn behind the undo, and finds nothing more to do.
    plexus.runtime.del(&target).expect_silence();
    assert_eq!(
        plexus.calls(),
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    plexus.assert_nothing_left(&sandbox);
}
