//! plexusd is killed at each step of a change. The next one finishes the change, or without
//! hot-plug only cleans up.

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault};
use plexus_e2e::json::with_keys;
use plexus_e2e::leftovers::{LEDGER, record_path};
use plexus_e2e::plexus_in_cluster::USER;
use plexus_e2e::{Cluster, PlexusInCluster, Script, Step, attaches, node, server};
use serde_json::{Value, json};

use super::{
    Attached, annotate, attach, calls, start, wait_event, wait_interfaces, wait_last_network,
    wait_settled,
};

/// Switches hot-plug on or off at the next start.
fn switch(plexus: &PlexusInCluster<'_>, hotplug: &str) {
    let keys = json!({"hotplug": hotplug, "recoveryInterval": "50ms", "logLevel": "debug"});
    plexus
        .daemon
        .configure(&with_keys(plexus.config.clone(), keys));
}

/// The lines of a record up to the last one of this kind.
fn lines_until(record: &str, last: &str) -> String {
    let lines: Vec<_> = record.lines().collect();
    let is_last = |line: &&str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line == last || !line[last].is_null()
    };
    let end = lines.iter().rposition(is_last).expect("a line of the kind");
    lines[..=end].join("\n") + "\n"
}

/// Starts Plexus and a pod with the networks `a` and `b`, the second one from a change. Kills
/// plexusd.
fn killed_after_a_change<'n>(
    plexus: &mut PlexusInCluster<'n>,
    hotplug: &str,
) -> (Attached<'n>, String) {
    for network in ["a", "b"] {
        plexus.define(network);
    }
    let pod = attach(plexus, "web", "a");
    annotate(plexus, "web", "a,b");
    wait_settled(plexus, "web", &pod, &["eth0", "net1", "net2"]);
    plexus.daemon.kill();
    plexus.node.forget_calls();
    switch(plexus, hotplug);
    let record = plexus.node.read(record_path(&pod.target));
    (pod, record)
}

#[test]
fn an_attachment_is_finished_or_undone_after_a_kill_at_any_line_of_the_record() {
    rows!("K-095");
    // The last line, whether the plugin has run, and the calls of the next plexusd with hot-plug and
    // without.
    for (last, has_link, on, off) in [
        ("completed", false, &["ADD b net2"][..], &[][..]),
        (
            "started",
            false,
            &["DEL b net2", "ADD b net2"],
            &["DEL b net2"],
        ),
        (
            "started",
            true,
            &["DEL b net2", "ADD b net2"],
            &["DEL b net2"],
        ),
        ("added", true, &[], &[]),
    ] {
        for (hotplug, expected) in [("on", on), ("off", off)] {
            let case = format!("{last}, link: {has_link}, hotplug: {hotplug}");
            let (node, cluster) = (node!(), Cluster::new());
            let mut plexus = start(&node, &cluster);
            let (pod, record) = killed_after_a_change(&mut plexus, hotplug);
            node.write(record_path(&pod.target), lines_until(&record, last));
            if !has_link {
                pod.sandbox.ip("link del net2");
            }
            plexus.daemon.restart();
            let is_attached = hotplug == "on" || last == "added";
            wait_record(&plexus, &pod, is_attached);
            assert_eq!(calls(&pod, &plexus), expected, "{case}");
            let links = ["lo", "eth0", "net1", "net2"];
            let count = if is_attached { 4 } else { 3 };
            assert_eq!(pod.sandbox.link_names(), links[..count], "{case}");
            wait_interfaces(&plexus, "web", &links[1..count]);
            plexus.runtime.del(&pod.target).expect_success();
            plexus.wait_records(&[]);
            assert_eq!(pod.sandbox.link_names(), ["lo"], "{case}");
        }
    }
}

#[test]
fn a_detachment_is_finished_after_a_kill_at_any_line_of_the_record() {
    rows!("K-095");
    let lines = [r#"{"detaching":{"index":2}}"#, r#"{"deleted":{"index":2}}"#];
    // The lines after those of the record, whether the plugin has run, and the calls of the next
    // plexusd.
    for (count, has_link, expected) in [
        (1, true, &["DEL b net2"][..]),
        (1, false, &["DEL b net2"]),
        (2, false, &[]),
    ] {
        for hotplug in ["on", "off"] {
            let case = format!("{count} lines, link: {has_link}, hotplug: {hotplug}");
            let (node, cluster) = (node!(), Cluster::new());
            let mut plexus = start(&node, &cluster);
            let (pod, record) = killed_after_a_change(&mut plexus, hotplug);
            annotate(&plexus, "web", "a");
            let record = record + &lines[..count].join("\n") + "\n";
            node.write(record_path(&pod.target), record);
            if !has_link {
                pod.sandbox.ip("link del net2");
            }
            plexus.daemon.restart();
            wait_record(&plexus, &pod, false);
            assert_eq!(calls(&pod, &plexus), expected, "{case}");
            assert_eq!(pod.sandbox.link_names(), ["lo", "eth0", "net1"], "{case}");
            wait_interfaces(&plexus, "web", &["eth0", "net1"]);
        }
    }
}

/// Waits until the record has `net2`, or until it has not, and nothing is left to do.
fn wait_record(plexus: &PlexusInCluster<'_>, pod: &Attached<'_>, is_attached: bool) {
    let interfaces = ["eth0", "net1", "net2"];
    let interfaces = &interfaces[..if is_attached { 3 } else { 2 }];
    plexus_e2e::NodeWatch::new(plexus.node, &[LEDGER]).wait_while(|| {
        let record = plexus.node.read(record_path(&pod.target));
        (!super::is_settled(&record, interfaces)).then_some(record)
    });
}

#[test]
fn a_change_that_is_not_in_the_record_yet_is_made_by_the_next_plexusd_only_with_hot_plug() {
    let (node, cluster) = (node!(), Cluster::new());
    let mut plexus = start(&node, &cluster);
    plexus.define("a");
    plexus.define("b");
    let pod = attach(&plexus, "web", "a");
    plexus.daemon.kill();
    annotate(&plexus, "web", "b");
    let temporary =
        record_path(&pod.target).replace(&format!("{LEDGER}/"), &format!("{LEDGER}/.")) + ".tmp";
    node.write(&temporary, "half");
    switch(&plexus, "off");
    plexus.daemon.restart();
    attach(&plexus, "later", "a");
    assert_eq!(calls(&pod, &plexus), ["ADD main eth0", "ADD a net1"]);
    assert!(!node.exists(&temporary), "the file of a killed plexusd");
    plexus.daemon.kill();
    switch(&plexus, "on");
    plexus.daemon.restart();
    wait_last_network(&plexus, "web", "b");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1"]);
    let expected = ["ADD main eth0", "ADD a net1", "DEL a net1", "ADD b net1"];
    assert_eq!(calls(&pod, &plexus), expected);
}

#[test]
fn a_plugin_that_survives_plexusd_is_waited_for_and_its_attachment_is_made_again() {
    rows!("R-067");
    for (operation, hotplug) in [("ADD", "on"), ("ADD", "off"), ("DEL", "on"), ("DEL", "off")] {
        let (node, cluster) = (node!(), Cluster::new());
        let mut plexus = start(&node, &cluster);
        plexus.define("a");
        plexus.define("b");
        let gate = node.gate("b");
        let step = if operation == "ADD" {
            Step::link()
        } else {
            Step::Unlink
        };
        let held_script = attaches().on(operation, [gate.step(), step]);
        let (before, after) = if operation == "ADD" {
            ("a", "a,b")
        } else {
            ("a,b", "a")
        };
        let pod = attach(&plexus, "web", before);
        node.plugin("b", &held_script);
        annotate(&plexus, "web", after);
        let held = gate.wait();
        plexus.daemon.kill();
        node.plugin("b", &attaches());
        node.forget_calls();
        switch(&plexus, hotplug);
        plexus.daemon.restart();
        plexus
            .daemon
            .wait_log("a plugin of an earlier plexusd still runs");
        assert_eq!(calls(&pod, &plexus), [""; 0], "the container is locked");
        held.release();
        let is_attached = (operation, hotplug) == ("ADD", "on");
        wait_record(&plexus, &pod, is_attached);
        let expected = ["DEL b net2", "ADD b net2"];
        let count = if is_attached { 2 } else { 1 };
        assert_eq!(
            calls(&pod, &plexus),
            expected[..count],
            "{operation} {hotplug}"
        );
        let links = ["lo", "eth0", "net1", "net2"];
        let count = if is_attached { 4 } else { 3 };
        assert_eq!(pod.sandbox.link_names(), links[..count]);
        wait_interfaces(&plexus, "web", &links[1..count]);
        if is_attached {
            wait_event(&plexus, "web", "AddedInterface", "Add net2");
            let events = plexus.namespace.events("web");
            let is_removal = |event: &Value| event["reason"] == "RemovedInterface";
            assert!(!events.iter().any(is_removal), "net2 was never reported");
        }
    }
}

#[test]
fn network_status_is_written_after_a_kill_before_the_write() {
    rows!("K-092", "K-095");
    for hotplug in ["on", "off"] {
        let (node, cluster) = (node!(), Cluster::new());
        let server = server!(cluster);
        let mut plexus = start(&node, &cluster);
        plexus.define("a");
        plexus.define("b");
        let pod = attach(&plexus, "web", "a");
        let fault = Fault::new("patch", "pods/status", Effect::Error(500)).of_user(USER);
        let failing = server.fault(fault);
        annotate(&plexus, "web", "b");
        let record = record_path(&pod.target);
        plexus_e2e::NodeWatch::new(&node, &[LEDGER]).wait_while(|| {
            let text = node.read(&record);
            let is_changed = text.contains("\"revision\":") && text.contains("/b");
            (!is_changed || text.matches("\"added\"").count() < 2).then_some(text)
        });
        plexus.daemon.kill();
        server.clear_fault(failing);
        switch(&plexus, hotplug);
        plexus.daemon.restart();
        wait_settled(&plexus, "web", &pod, &["eth0", "net1"]);
        let entries = wait_interfaces(&plexus, "web", &["eth0", "net1"]);
        let name = format!("{}/b", plexus.namespace.name());
        assert_eq!(entries[1]["name"], name);
    }
}

#[test]
fn a_plexusd_that_is_stopped_during_a_change_lets_the_plugin_finish() {
    let (node, cluster) = (node!(), Cluster::new());
    let mut plexus = start(&node, &cluster);
    for network in ["a", "b", "c"] {
        plexus.define(network);
    }
    let pod = attach(&plexus, "web", "a");
    let gate = node.gate("b");
    let script: Script = attaches().on("ADD", [gate.step(), Step::link()]);
    node.plugin("b", &script);
    annotate(&plexus, "web", "a,b,c");
    let held = gate.wait();
    plexus.daemon.terminate();
    plexus.daemon.wait_log("stopping: ");
    held.release();
    assert!(plexus.daemon.wait_exit().success());
    assert_eq!(calls(&pod, &plexus).last().unwrap(), "ADD b net2");
    plexus.daemon.restart();
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net2", "net3"]);
    let adds = calls(&pod, &plexus);
    let adds = adds.iter().filter(|call| **call == "ADD b net2");
    assert_eq!(adds.count(), 1, "the result of the plugin is kept");
}
