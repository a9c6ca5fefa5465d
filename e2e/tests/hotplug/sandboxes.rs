//! Sandboxes that end or are replaced during a change.

use std::time::Duration;

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault};
use plexus_e2e::plexus_in_cluster::{DEFINITIONS, TIMEOUT, USER};
use plexus_e2e::{Cluster, Pod, Step, attaches, node, server};
use serde_json::json;

use super::{Attached, annotate, attach, calls, start_with, wait_settled};

#[test]
fn del_during_the_plugin_of_a_change_waits_and_deletes_everything() {
    rows!("P-110");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    let pod = attach(&plexus, "web", "a");
    let gate = node.gate("b");
    node.plugin("b", &attaches().on("ADD", [gate.step(), Step::link()]));
    annotate(&plexus, "web", "b");
    let held = gate.wait();
    let del = plexus.runtime.start("DEL", &pod.target);
    plexus.daemon.wait_log("waiting for the lock of container");
    held.release();
    del.wait().expect_success();
    plexus.wait_records(&[]);
    assert_eq!(pod.sandbox.link_names(), ["lo"]);
    let expected = [
        "ADD main eth0",
        "ADD a net1",
        "DEL a net1",
        "ADD b net1",
        "DEL b net1",
        "DEL main eth0",
    ];
    assert_eq!(calls(&pod, &plexus), expected);
}

#[test]
fn a_change_that_is_no_longer_wanted_ends_with_the_current_plugin() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b", "c"]);
    for is_deleted in [true, false] {
        let name = format!("web-{is_deleted}");
        let pod = attach(&plexus, &name, "");
        let gate = node.gate(&name);
        node.plugin("b", &attaches().on("ADD", [gate.step(), Step::link()]));
        annotate(&plexus, &name, "b,c");
        let held = gate.wait();
        if is_deleted {
            plexus.namespace.remove_pod(&name);
        } else {
            annotate(&plexus, &name, "b");
        }
        // plexusd has seen that once it has seen a later change.
        let later = format!("later-{is_deleted}");
        let other = attach(&plexus, &later, "");
        annotate(&plexus, &later, "a");
        wait_settled(&plexus, &later, &other, &["eth0", "net1"]);
        held.release();
        if !is_deleted {
            wait_settled(&plexus, &name, &pod, &["eth0", "net1"]);
        }
        plexus.runtime.del(&pod.target).expect_success();
        let expected = ["ADD main eth0", "ADD b net1", "DEL b net1", "DEL main eth0"];
        assert_eq!(calls(&pod, &plexus), expected);
    }
}

#[test]
fn del_is_served_while_a_change_waits_for_a_permit() {
    let (node, cluster) = (node!(), Cluster::new());
    let keys = json!({"maxPluginRuns": 1});
    let plexus = start_with(&node, &cluster, keys, &["a", "slow"]);
    let pod = attach(&plexus, "web", "");
    let gate = node.gate("slow");
    node.plugin("slow", &attaches().on("ADD", [gate.step(), Step::link()]));
    let slow = plexus.pod(&Pod::new("slow").with_networks("slow"));
    let sandbox = node.sandbox("slow");
    let adding = plexus.runtime.start("ADD", &sandbox.target(&slow));
    let held = gate.wait();
    annotate(&plexus, "web", "a");
    plexus
        .daemon
        .wait_log("waiting for a permit to run plugins");
    let del = plexus.runtime.start("DEL", &pod.target);
    plexus.daemon.wait_log("call=\"DEL");
    held.release();
    assert!(adding.wait().ok());
    del.wait().expect_success();
    assert_eq!(calls(&pod, &plexus), ["ADD main eth0", "DEL main eth0"]);
    assert_eq!(pod.sandbox.link_names(), ["lo"]);
}

#[test]
fn del_is_served_while_a_change_reads_a_definition() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start_with(&node, &cluster, json!({}), &["a"]);
    let pod = attach(&plexus, "web", "");
    let slow = Effect::Delay(Duration::from_secs(3));
    server.fault(Fault::new("get", DEFINITIONS, slow).of_user(USER));
    annotate(&plexus, "web", "missing,a");
    server.wait(TIMEOUT, |entries| {
        let is_get = |entry: &&plexus_apiserver::AuditEntry| {
            entry.user == USER && entry.matches("get", DEFINITIONS)
        };
        entries.iter().any(|entry| is_get(&entry))
    });
    plexus.runtime.del(&pod.target).expect_success();
    server.wait(TIMEOUT, |entries| {
        let mut gets = entries.iter();
        gets.any(|entry| entry.matches("get", DEFINITIONS) && entry.finished.is_some())
    });
    let other = attach(&plexus, "other", "");
    annotate(&plexus, "other", "a");
    wait_settled(&plexus, "other", &other, &["eth0", "net1"]);
    assert_eq!(calls(&pod, &plexus), ["ADD main eth0", "DEL main eth0"]);
}

#[test]
fn a_sandbox_that_is_removed_without_a_del_during_a_change_is_cleaned_up() {
    let (node, cluster) = (node!(), Cluster::new());
    let keys = json!({"recoveryInterval": "20ms", "goneGap": "40ms"});
    let plexus = start_with(&node, &cluster, keys, &["a", "b"]);
    let pod = attach(&plexus, "web", "a");
    let gate = node.gate("b");
    node.plugin("b", &attaches().on("ADD", [gate.step(), Step::link()]));
    annotate(&plexus, "web", "a,b");
    let held = gate.wait();
    plexus.namespace.remove_pod("web");
    pod.sandbox.remove();
    held.release();
    plexus.wait_records(&[]);
    let calls = calls(&pod, &plexus);
    for del in ["DEL main eth0", "DEL a net1", "DEL b net2"] {
        assert!(calls.contains(&del.to_owned()), "{calls:?}");
    }
}

#[test]
fn a_pod_of_the_same_name_gets_its_own_networks_after_a_change_of_the_old_one() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    let old = attach(&plexus, "web-0", "a");
    let gate = node.gate("b");
    node.plugin("b", &attaches().on("ADD", [gate.step(), Step::link()]));
    annotate(&plexus, "web-0", "a,b");
    let held = gate.wait();
    node.plugin("b", &attaches());
    plexus.namespace.remove_pod("web-0");
    let pod = plexus.pod(&Pod::new("web-0").with_networks("b"));
    let sandbox = node.sandbox("new");
    let target = sandbox.target(&pod);
    plexus.runtime.add(&target).result();
    let new = Attached { sandbox, target };
    held.release();
    wait_settled(&plexus, "web-0", &new, &["eth0", "net1"]);
    annotate(&plexus, "web-0", "b,a");
    wait_settled(&plexus, "web-0", &new, &["eth0", "net1", "net2"]);
    plexus.runtime.del(&old.target).expect_success();
    assert_eq!(old.sandbox.link_names(), ["lo"]);
    wait_settled(&plexus, "web-0", &new, &["eth0", "net1", "net2"]);
}

#[test]
fn only_the_newest_sandbox_of_a_pod_is_changed() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a"]);
    let pod = plexus.pod(&Pod::new("web"));
    let [old, new] = ["old", "new"].map(|name| {
        let sandbox = node.sandbox(name);
        let target = sandbox.target(&pod);
        plexus.runtime.add(&target).result();
        Attached { sandbox, target }
    });
    annotate(&plexus, "web", "a");
    wait_settled(&plexus, "web", &new, &["eth0", "net1"]);
    plexus.runtime.del(&old.target).expect_success();
    assert_eq!(calls(&old, &plexus), ["ADD main eth0", "DEL main eth0"]);
    annotate(&plexus, "web", "");
    wait_settled(&plexus, "web", &new, &["eth0"]);
}
