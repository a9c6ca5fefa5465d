//! `/delegate` while something fails.

use plexus_api::rows;
use plexus_e2e::leftovers::LEDGER;
use plexus_e2e::{Cluster, NodeWatch, PlexusInCluster, Step, attaches, node};
use serde_json::json;

use super::program::{Request, network};
use super::{attach, calls, wait_interfaces};

/// Waits until the only record does not mention the interface `data0`.
fn wait_without_interface(plexus: &PlexusInCluster<'_>) {
    NodeWatch::new(plexus.node, &[LEDGER]).wait_while(|| {
        let record = plexus.record();
        let mentions = record.contains("\"ifname\":\"data0\"");
        mentions.then_some(record)
    });
}

/// Asserts that the response came after the removal of the interface `data0` from the record.
#[track_caller]
fn assert_without_interface(plexus: &PlexusInCluster<'_>) {
    let record = plexus.record();
    assert!(!record.contains("\"ifname\":\"data0\""), "{record}");
}

#[test]
fn a_program_that_disconnects_gets_no_network() {
    rows!("C-12");
    let (node, cluster) = (node!(), Cluster::new());
    // No time limit ends the plugin.
    let keys = json!({"addTimeout": "10m", "pluginTimeout": "10m"});
    let plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    let gate = node.gate("add");
    node.plugin("a", &attaches().on("ADD", [Step::link(), gate.step()]));
    let pod = attach(&plexus, "web", "");
    let connection = Request::new("ADD", &pod, "data0", network("a")).start(&plexus);
    let _held = gate.wait();
    drop(connection);
    wait_without_interface(&plexus);
    assert_eq!(calls(&pod, &plexus)[1..], ["ADD a data0", "DEL a data0"]);
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0"]);
}

#[test]
fn a_network_of_a_program_is_undone_after_a_kill_during_its_add() {
    rows!("R-084");
    let (node, cluster) = (node!(), Cluster::new());
    let mut plexus = PlexusInCluster::start(&node, &cluster);
    let gate = node.gate("add");
    node.plugin("a", &attaches().on("ADD", [Step::link(), gate.step()]));
    let pod = attach(&plexus, "web", "");
    wait_interfaces(&plexus, "web", &["eth0"]);
    let add = Request::new("ADD", &pod, "data0", network("a"));
    let connection = add.start(&plexus);
    let held = gate.wait();
    plexus.daemon.kill();
    assert_eq!(connection.response(), "");
    held.release();
    node.plugin("a", &attaches());
    plexus.daemon.restart();
    wait_without_interface(&plexus);
    assert_eq!(calls(&pod, &plexus)[1..], ["ADD a data0", "DEL a data0"]);
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0"]);
    let record = plexus.record();
    assert!(record.contains("statusWritten"), "{record}");
    add.succeed(&plexus);
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0", "data0"]);

    // Nothing is forgotten when the daemon is killed later.
    plexus.daemon.kill();
    plexus.daemon.restart();
    plexus.runtime.del(&pod.target).expect_success();
    plexus.wait_records(&[]);
    assert_eq!(pod.sandbox.link_names(), ["lo"]);
}

#[test]
fn the_del_of_the_sandbox_follows_the_add_of_a_program() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start_with(&node, &cluster, json!({"logLevel": "debug"}));
    let gate = node.gate("add");
    node.plugin("a", &attaches().on("ADD", [Step::link(), gate.step()]));
    let pod = attach(&plexus, "web", "");
    let connection = Request::new("ADD", &pod, "data0", network("a")).start(&plexus);
    let held = gate.wait();
    let del = plexus.runtime.start("DEL", &pod.target);
    plexus.daemon.wait_log("waiting for the lock of container");
    held.release();
    let response = connection.response();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    del.wait().expect_success();
    plexus.wait_records(&[]);
    let expected = ["ADD a data0", "DEL a data0", "DEL main eth0"];
    assert_eq!(calls(&pod, &plexus)[1..], expected);
    assert_eq!(pod.sandbox.link_names(), ["lo"]);
}

#[test]
fn an_add_that_fails_is_undone_and_a_del_that_fails_is_repeated() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    node.plugin(
        "a",
        &attaches().on("ADD", [Step::link(), Step::error(77, "no address")]),
    );
    let pod = attach(&plexus, "web", "");
    let request = |verb: &str| Request::new(verb, &pod, "data0", network("a"));
    let parts = ["/delegate ADD pod", "\"data0\"", "no address"];
    request("ADD").fail(&plexus, 77, &parts);
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0"]);
    assert_without_interface(&plexus);

    node.plugin("a", &attaches().fails("DEL", 78, "busy"));
    request("ADD").succeed(&plexus);
    request("DEL").fail(&plexus, 78, &["/delegate DEL pod", "\"data0\"", "busy"]);
    let record = plexus.record();
    assert!(record.contains("detaching"), "{record}");
    request("CHECK").fail(&plexus, 108, &["not attached"]);
    // The name is taken even without the link.
    pod.sandbox.ip("link del data0");
    request("ADD").fail(&plexus, 103, &["data0"]);
    node.plugin("a", &attaches());
    // The ADD repeats the DEL first.
    request("ADD").succeed(&plexus);
    assert!(calls(&pod, &plexus).ends_with(&["DEL a data0", "ADD a data0"].map(str::to_owned)));
    node.plugin("a", &attaches().fails("DEL", 78, "busy"));
    request("DEL").fail(&plexus, 78, &["busy"]);
    node.plugin("a", &attaches());
    request("DEL").succeed(&plexus);
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0"]);
    assert_without_interface(&plexus);
}

#[test]
fn a_sandbox_that_is_being_deleted_gets_no_network() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    let pod = attach(&plexus, "web", "");
    node.plugin("main", &attaches().fails("DEL", 78, "busy"));
    plexus.runtime.del(&pod.target).expect_error(78, &["busy"]);
    let request = |verb: &str| Request::new(verb, &pod, "data0", network("a"));
    for verb in ["ADD", "CHECK", "DEL"] {
        request(verb).fail(&plexus, 11, &["being deleted"]);
    }
    let plugin_calls = calls(&pod, &plexus);
    let has_run = |call: &String| call.ends_with("a data0");
    assert!(!plugin_calls.iter().any(has_run), "{plugin_calls:?}");
    node.plugin("main", &attaches());
    plexus.runtime.del(&pod.target).expect_success();
    request("DEL").succeed(&plexus);
}

#[test]
fn a_request_ends_within_its_time_limit_if_another_call_has_the_container() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start_with(&node, &cluster, json!({"delTimeout": "2s"}));
    let gate = node.gate("add");
    node.plugin("a", &attaches().on("ADD", [Step::link(), gate.step()]));
    let pod = attach(&plexus, "web", "");
    let request = |verb: &str| Request::new(verb, &pod, "data0", network("a"));
    let connection = request("ADD").start(&plexus);
    let held = gate.wait();
    request("CHECK").fail(
        &plexus,
        11,
        &["/delegate CHECK pod", "the lock of container"],
    );
    held.release();
    let response = connection.response();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[test]
fn a_del_of_a_program_runs_before_an_add_that_waits_longer() {
    let (node, cluster) = (node!(), Cluster::new());
    let keys = json!({"maxPluginRuns": 1, "pluginTimeout": "1h", "logLevel": "debug"});
    let plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    let gate = node.gate("add");
    node.plugin("a", &attaches());
    let script = attaches().on("ADD", [Step::link(), gate.step()]);
    node.plugin("holder", &script);
    let pods = ["first", "second", "third"].map(|name| attach(&plexus, name, ""));
    let [first, second, third] = &pods;
    Request::new("ADD", first, "data0", network("a")).succeed(&plexus);
    let holder = Request::new("ADD", third, "data0", network("holder")).start(&plexus);
    let held = gate.wait();
    node.forget_calls();
    let waiting = [("ADD", second, "second"), ("DEL", first, "first")].map(|(verb, pod, name)| {
        let request = Request::new(verb, pod, "data0", network("a")).start(&plexus);
        let namespace = plexus.namespace.name();
        let call = format!("call=\"/delegate {verb} pod {namespace}/{name}\"");
        plexus.daemon.wait_log(&call);
        request
    });
    held.release();
    for request in waiting.into_iter().chain([holder]) {
        let response = request.response();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
    assert_eq!(node.call_summaries(), ["DEL a data0", "ADD a data0"]);
}
