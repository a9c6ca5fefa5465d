//! Lookups of pods and definitions that the watches have not delivered, and the identity of pods.

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault};
use plexus_e2e::plexus_in_cluster::{DEFINITIONS, USER};
use plexus_e2e::{Cluster, CniTarget, Node, PlexusInCluster, Pod, node, server};
use serde_json::json;

/// Starts Plexus with a short wait for watches.
fn start<'n>(node: &'n Node, cluster: &'n Cluster) -> PlexusInCluster<'n> {
    PlexusInCluster::start_with(node, cluster, json!({"lookupWait": "100ms"}))
}

#[test]
fn add_waits_for_objects_that_are_created_while_it_runs() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.wait_watches();
    let before = plexus.reads();
    // The runtime is faster than the watches.
    let stalled = server.fault(Fault::new("watch", "*", Effect::Stall).of_user(USER));
    let pod = plexus.pod(&Pod::new("p").with_networks("late"));
    let running = plexus.plain_runtime.start("ADD", &plexus.target(&pod));
    plexus.define("late");
    server.clear_fault(stalled);
    running.wait().result();
    assert_eq!(plexus.calls(), ["ADD main eth0", "ADD late net1"]);
    assert_eq!(plexus.reads(), before, "ADD reads nothing");
}

#[test]
fn an_object_that_the_watch_does_not_deliver_is_read_once() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster);
    plexus.wait_watches();
    server.fault(Fault::new("watch", "*", Effect::Stall).of_user(USER));
    plexus.define("late");
    let pod = plexus.pod(&Pod::new("p").with_networks("late"));
    let (output, calls) = plexus.add(&plexus.plain_runtime, &pod);
    output.result();
    assert_eq!(calls, ["ADD main eth0", "ADD late net1"]);
    assert_eq!(plexus.count("get", "pods"), 1);
    assert_eq!(plexus.count("get", DEFINITIONS), 1);
}

#[test]
fn a_missing_object_and_an_unavailable_api_server_have_different_errors() {
    rows!("P-042");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start(&node, &cluster);
    let missing_pod = plexus.unknown_pod(Pod::new("nobody"));
    let (output, calls) = plexus.add(&plexus.plain_runtime, &missing_pod);
    output.expect_error(11, &["/nobody"]);
    assert!(calls.is_empty(), "{calls:?}");
    let missing_definition = plexus.unknown_pod(Pod::new("p").with_networks("nothing"));
    let (output, calls) = plexus.add(&plexus.runtime, &missing_definition);
    output.expect_error(104, &["/nothing"]);
    assert!(calls.is_empty(), "{calls:?}");
    let server = server!(cluster);
    for effect in [
        Effect::Error(503),
        Effect::TooManyRequests(30),
        Effect::Error(500),
        Effect::Disconnect,
    ] {
        let fault = server.fault(Fault::new("get", "*", effect).of_user(USER));
        let (output, _) = plexus.add(&plexus.plain_runtime, &missing_pod);
        output.expect_code(11);
        let (output, _) = plexus.add(&plexus.runtime, &missing_definition);
        output.expect_code(11);
        server.clear_fault(fault);
    }
    server.partition();
    let (output, _) = plexus.add(&plexus.runtime, &missing_definition);
    output.expect_error(11, &["API server"]);
}

#[test]
fn a_pod_with_another_uid_is_another_pod() {
    rows!("P-019");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start(&node, &cluster);
    plexus.define("a");
    let current = plexus.pod(&Pod::new("web-0").with_networks("a"));
    let former = current.clone().with_uid("former");
    let (output, calls) = plexus.add(&plexus.plain_runtime, &former);
    output.expect_error(11, &["former", &current.uid]);
    assert!(calls.is_empty(), "{calls:?}");
    let (output, calls) = plexus.del(&plexus.plain_runtime, &former);
    output.expect_success();
    assert_eq!(
        calls,
        ["DEL main eth0"],
        "without the networks of the current pod"
    );
    let (output, calls) = plexus.del(&plexus.plain_runtime, &current);
    output.expect_success();
    assert_eq!(calls, ["DEL a net1", "DEL main eth0"]);
    // The runtime does not pass a UID.
    let without_uid = current.with_uid("");
    plexus.add(&plexus.plain_runtime, &without_uid).0.result();
    // Annotations in the call belong to the pod of the call.
    let (output, calls) = plexus.add(&plexus.runtime, &former);
    output.result();
    assert_eq!(calls, ["ADD main eth0", "ADD a net1"]);
}

#[test]
fn a_recreated_pod_is_not_confused_with_the_old_one() {
    rows!("P-019");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster);
    for name in ["old", "new"] {
        plexus.define(name);
    }
    let old = plexus.pod(&Pod::new("web-0").with_networks("old"));
    plexus.add(&plexus.plain_runtime, &old).0.result();
    // The watch does not deliver the change.
    server.fault(Fault::new("watch", "pods", Effect::Stall).of_user(USER));
    plexus.namespace.remove_pod("web-0");
    let new = plexus.pod(&Pod::new("web-0").with_networks("new"));
    let before = plexus.count("get", "pods");
    let (output, calls) = plexus.add(&plexus.plain_runtime, &new);
    output.result();
    assert_eq!(calls, ["ADD main eth0", "ADD new net1"]);
    assert_eq!(plexus.count("get", "pods"), before + 1);
}

#[test]
fn the_mirror_of_a_static_pod_may_have_another_uid() {
    rows!("P-019");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start(&node, &cluster);
    plexus.define("a");
    for (source, is_static) in [("file", true), ("http", true), ("api", false)] {
        let mirror = Pod::new(source)
            .with_networks("a")
            .annotated("kubernetes.io/config.source", source);
        let static_pod = plexus.pod(&mirror).with_uid("0123456789abcdef");
        let (output, calls) = plexus.add(&plexus.plain_runtime, &static_pod);
        if is_static {
            output.result();
            assert_eq!(calls, ["ADD main eth0", "ADD a net1"], "{source}");
            let (output, calls) = plexus.del(&plexus.plain_runtime, &static_pod);
            output.expect_success();
            assert_eq!(calls, ["DEL a net1", "DEL main eth0"], "{source}");
        } else {
            output.expect_code(11);
        }
    }
}

#[test]
fn del_and_check_read_nothing() {
    rows!("P-018");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    let pod = plexus.pod(&Pod::new("p").with_networks("a"));
    let target = plexus.target(&pod);
    plexus.plain_runtime.add(&target).result();
    let before = plexus.reads();
    plexus.namespace.remove_pod("p");
    let without_pod = CniTarget {
        pod: None,
        ..target
    };
    plexus.plain_runtime.check(&without_pod).expect_success();
    plexus.plain_runtime.del(&without_pod).expect_success();
    // A pod for which there was no ADD.
    let never = plexus.unknown_pod(Pod::new("never"));
    plexus.del(&plexus.plain_runtime, &never).0.expect_success();
    assert_eq!(plexus.reads(), before);
}
