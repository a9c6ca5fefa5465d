//! The annotation of a running pod changes.

use plexus_api::rows;
use plexus_e2e::{Cluster, PlexusInCluster, node};
use serde_json::Value;

use super::{annotate, attach, calls, start, wait_interfaces};

#[test]
fn a_running_pod_gains_and_loses_a_network_with_its_annotation() {
    rows!("K-095");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start(&node, &cluster);
    for network in ["a", "b", "c"] {
        plexus.define(network);
    }
    let pod = attach(&plexus, "web", "a");
    let before = wait_interfaces(&plexus, "web", &["eth0", "net1"]);

    annotate(&plexus, "web", "a,b,c@data0");
    let after = wait_interfaces(&plexus, "web", &["eth0", "net1", "net2", "data0"]);
    assert_eq!(after[..2], before[..], "what stays is unchanged");
    assert_eq!(
        pod.sandbox.link_names(),
        ["lo", "eth0", "net1", "net2", "data0"]
    );
    plexus.runtime.check(&pod.target).expect_success();

    annotate(&plexus, "web", "b,c@data0");
    wait_interfaces(&plexus, "web", &["eth0", "net2", "data0"]);
    annotate(&plexus, "web", Value::Null);
    wait_interfaces(&plexus, "web", &["eth0"]);
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0"]);
    assert_eq!(
        calls(&pod, &plexus),
        [
            "ADD main eth0",
            "ADD a net1",
            "ADD b net2",
            "ADD c data0",
            "CHECK main eth0",
            "DEL a net1",
            "DEL c data0",
            "DEL b net2",
        ]
    );
    let message = |event: &Value| event["message"].as_str().unwrap_or_default().to_owned();
    let namespace = plexus.namespace.name();
    for text in [
        format!("Add net2 [10.1.2.3/24] from {namespace}/b"),
        format!("Remove net1 from {namespace}/a"),
    ] {
        plexus
            .namespace
            .wait_for_event("web", |event| message(event) == text);
    }
    plexus.runtime.check(&pod.target).expect_success();
    plexus.runtime.del(&pod.target).expect_success();
    plexus.wait_records(&[]);
    assert_eq!(
        calls(&pod, &plexus)[8..],
        ["CHECK main eth0", "DEL main eth0"]
    );
}

#[test]
fn the_annotation_of_a_running_pod_has_no_effect_by_default() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    let pod = attach(&plexus, "web", "");
    annotate(&plexus, "web", "a");
    // A later pod shows that the watch has delivered the change.
    attach(&plexus, "later", "a");
    assert_eq!(calls(&pod, &plexus), ["ADD main eth0"]);
}
