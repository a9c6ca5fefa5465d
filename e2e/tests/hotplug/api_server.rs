//! The API server during changes of running pods: outages, gaps of the watch, quick changes.

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault};
use plexus_e2e::plexus_in_cluster::USER;
use plexus_e2e::{Cluster, Pod, node, server};
use serde_json::json;

use super::{annotate, attach, calls, start_with, wait_event, wait_settled};

#[test]
fn a_change_makes_one_write_which_is_retried() {
    rows!("K-092", "K-095");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b", "c"]);
    let pod = attach(&plexus, "web", "a");
    let writes = || plexus.count("patch", "pods/status");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1"]);
    let before = writes();
    annotate(&plexus, "web", "b,c");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net2"]);
    assert_eq!(writes(), before + 1, "two networks more, and one less");
    let fault = Fault::new("patch", "pods/status", Effect::Error(500)).of_user(USER);
    server.fault(fault.times(2));
    annotate(&plexus, "web", "c");
    wait_settled(&plexus, "web", &pod, &["eth0", "net2"]);
    assert_eq!(writes(), before + 4);
    // What has not changed needs no write.
    annotate(&plexus, "web", "");
    annotate(&plexus, "web", "c");
    let other = attach(&plexus, "other", "");
    annotate(&plexus, "other", "a");
    wait_settled(&plexus, "other", &other, &["eth0", "net1"]);
}

#[test]
fn nothing_is_detached_while_the_pods_are_unknown_after_a_restart() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    let pod = attach(&plexus, "web", "a");
    plexus.wait_snapshot("b");
    plexus.stop_server();
    plexus.daemon.kill();
    plexus.daemon.restart();
    let other = plexus.unknown_pod(Pod::new("other").with_networks("a"));
    let (output, _) = plexus.add(&plexus.runtime, &other);
    assert!(output.ok(), "{output:?}");
    assert_eq!(calls(&pod, &plexus), ["ADD main eth0", "ADD a net1"]);
    server.resume();
    annotate(&plexus, "web", "a,b");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net2"]);
}

#[test]
fn a_list_after_a_gap_of_the_watch_shows_a_change() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start_with(&node, &cluster, json!({}), &["a"]);
    let pod = attach(&plexus, "web", "");
    plexus.wait_watches();
    let failing = ["watch", "list"]
        .map(|verb| server.fault(Fault::new(verb, "pods", Effect::Error(500)).of_user(USER)));
    server.drop_watches("pods");
    annotate(&plexus, "web", "a");
    server.compact();
    for fault in failing {
        server.clear_fault(fault);
    }
    wait_settled(&plexus, "web", &pod, &["eth0", "net1"]);
}

#[test]
fn quick_changes_end_in_the_last_state() {
    rows!("K-095");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b", "c"]);
    let pod = attach(&plexus, "web", "");
    let states = ["a", "b@x,a", "c@x", "a,a,b", "", "b,b@y", "c@x,c@y", "b@x"];
    for round in 0..6 {
        for state in states {
            annotate(&plexus, "web", state);
        }
        // The next changes find a pod at rest.
        let last = format!("last{round}");
        annotate(&plexus, "web", format!("c@{last}"));
        wait_settled(&plexus, "web", &pod, &["eth0", &last]);
    }
    plexus.runtime.check(&pod.target).expect_success();
    plexus.runtime.del(&pod.target).expect_success();
    plexus.wait_records(&[]);
    assert_eq!(pod.sandbox.link_names(), ["lo"]);
}

#[test]
fn a_definition_may_appear_change_and_disappear() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a"]);
    let pod = attach(&plexus, "web", "");
    annotate(&plexus, "web", "late,a");
    wait_settled(&plexus, "web", &pod, &["eth0", "net2"]);
    wait_event(&plexus, "web", "NoNetworkFound", "late");
    plexus.define("late");
    wait_settled(&plexus, "web", &pod, &["eth0", "net2", "net1"]);
    // Later configurations are for later attachments.
    let before = calls(&pod, &plexus);
    plexus.namespace.remove_definition("late");
    plexus
        .namespace
        .definition("late", &json!({"cniVersion": "1.0.0", "type": "other"}));
    plexus.define("barrier");
    plexus.namespace.remove_definition("late");
    annotate(&plexus, "web", "late,a,barrier");
    wait_settled(&plexus, "web", &pod, &["eth0", "net2", "net1", "net3"]);
    let after = calls(&pod, &plexus);
    assert_eq!(after[..before.len()], before);
    assert_eq!(after[before.len()..], ["ADD barrier net3"]);
    annotate(&plexus, "web", "a,barrier");
    wait_settled(&plexus, "web", &pod, &["eth0", "net2", "net3"]);
    assert_eq!(calls(&pod, &plexus).last().unwrap(), "DEL late net1");
}
