//! Plugins that fail or hang during a change of a running pod.

use std::fs;
use std::os::unix::fs::symlink;

use plexus_api::rows;
use plexus_e2e::daemon::Container;
use plexus_e2e::{
    Cluster, Flavour, PlexusInCluster, PluginCall, Pod, Runtime, Step, attaches, metric, node,
};
use serde_json::json;

use super::{
    Attached, annotate, attach, calls, start_with, wait_event, wait_interfaces, wait_settled,
};

/// Waits until the plugins were called with this summary at least `count` times, for any container.
fn wait_calls(plexus: &plexus_e2e::PlexusInCluster<'_>, summary: &str, count: usize) {
    plexus_e2e::NodeWatch::new(plexus.node, &[plexus.node.scratch()]).wait_while(|| {
        let calls = plexus.node.calls();
        let found = calls.iter().filter(|call| call.summary() == summary);
        (found.count() < count).then(|| calls.iter().map(PluginCall::summary).collect::<Vec<_>>())
    });
}

#[test]
fn a_network_that_fails_is_undone_alone_and_retried_until_it_succeeds() {
    rows!("K-095");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b", "c"]);
    node.plugin("b", &attaches().fails("ADD", 120, "no address is free"));
    let pod = attach(&plexus, "web", "");
    annotate(&plexus, "web", "a,b,c");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net3"]);
    wait_event(&plexus, "web", "AttachFailed", "no address is free");
    wait_event(&plexus, "web", "AttachFailed", "plexusd retries");
    wait_calls(&plexus, "ADD b net2", 2);
    node.plugin("b", &attaches());
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net3", "net2"]);
    plexus.runtime.check(&pod.target).expect_success();
    wait_event(&plexus, "web", "AddedInterface", "Add net2");
    let events = plexus.namespace.events("web");
    let is_removal = |event: &serde_json::Value| event["reason"] == "RemovedInterface";
    assert!(!events.iter().any(is_removal), "net2 was never added");
    assert!(calls(&pod, &plexus).contains(&"DEL b net2".to_owned()));
}

#[test]
fn the_retries_end_when_the_annotation_changes() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    node.plugin("b", &attaches().fails("ADD", 7, "the master is missing"));
    let pod = attach(&plexus, "web", "");
    annotate(&plexus, "web", "a,b");
    // Code 7 is an invalid configuration, but only the plugin knows whether a retry can succeed.
    wait_calls(&plexus, "ADD b net2", 2);
    annotate(&plexus, "web", "b@data0");
    wait_calls(&plexus, "ADD b data0", 2);
    annotate(&plexus, "web", "a");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1"]);
    let other = attach(&plexus, "other", "");
    annotate(&plexus, "other", "a");
    wait_settled(&plexus, "other", &other, &["eth0", "net1"]);
    let pending: u64 = metric(&plexus.daemon.metrics(), "plexus_hotplug_pending_pods");
    assert_eq!(pending, 0);
}

#[test]
fn a_plugin_that_hangs_is_killed_and_the_others_are_attached() {
    let (node, cluster) = (node!(), Cluster::new());
    let keys = json!({"pluginTimeout": "3s"});
    let plexus = start_with(&node, &cluster, keys, &["a", "b", "c"]);
    node.plugin("b", &attaches().on("ADD", [Step::link(), Step::Hang]));
    let pod = attach(&plexus, "web", "");
    annotate(&plexus, "web", "a,b,c");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net3"]);
    wait_event(&plexus, "web", "AttachFailed", "longer than 3");
    node.plugin("b", &attaches());
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net3", "net2"]);
}

#[test]
fn a_network_whose_del_fails_stays_in_network_status_until_it_succeeds() {
    rows!("K-095", "P-110");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b", "c"]);
    let pod = attach(&plexus, "web", "a,b");
    node.plugin("b", &attaches().fails("DEL", 120, "the switch is busy"));
    annotate(&plexus, "web", "a,c");
    wait_interfaces(&plexus, "web", &["eth0", "net1", "net2", "net3"]);
    wait_event(&plexus, "web", "DetachFailed", "the switch is busy");
    wait_calls(&plexus, "DEL b net2", 2);
    node.plugin("b", &attaches());
    wait_settled(&plexus, "web", &pod, &["eth0", "net1", "net3"]);
    wait_event(&plexus, "web", "RemovedInterface", "Remove net2");
    let adds = calls(&pod, &plexus);
    let adds = adds.iter().filter(|call| call.starts_with("ADD"));
    assert_eq!(adds.count(), 4, "a retry attaches nothing twice");
}

#[test]
fn del_of_a_sandbox_includes_a_network_that_could_not_be_detached() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    let pod = attach(&plexus, "web", "a,b");
    node.plugin("b", &attaches().fails("DEL", 120, "the switch is busy"));
    annotate(&plexus, "web", "a");
    wait_event(&plexus, "web", "DetachFailed", "the switch is busy");
    assert!(!plexus.runtime.del(&pod.target).ok());
    node.plugin("b", &attaches());
    plexus.runtime.del(&pod.target).expect_success();
    plexus.wait_records(&[]);
    assert_eq!(pod.sandbox.link_names(), ["lo"]);
}

#[test]
fn a_plugin_that_is_not_installed_is_reported_and_used_once_it_is() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a"]);
    let config = json!({"cniVersion": "1.0.0", "type": "late"});
    plexus.namespace.definition("b", &config);
    let pod = attach(&plexus, "web", "");
    annotate(&plexus, "web", "b,a");
    wait_settled(&plexus, "web", &pod, &["eth0", "net2"]);
    wait_event(&plexus, "web", "AttachFailed", "install it there");
    assert_eq!(calls(&pod, &plexus), ["ADD main eth0", "ADD a net2"]);
    node.plugin("late", &attaches());
    wait_settled(&plexus, "web", &pod, &["eth0", "net2", "net1"]);
}

#[test]
fn a_network_that_is_refused_after_its_add_is_detached_until_that_succeeds() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start_with(&node, &cluster, json!({}), &["a", "b"]);
    // Two results that are too large together.
    let large = json!({
        "cniVersion": "$CNIVERSION", "dns": {"domain": "x".repeat(600 << 10)},
        "interfaces": [{"name": "$IFNAME", "sandbox": "$NETNS"}],
    });
    let script = attaches().on("ADD", [Step::link(), Step::Result(large)]);
    node.plugin("a", &script);
    node.plugin("b", &script.fails("DEL", 120, "busy"));
    let pod = attach(&plexus, "web", "a");
    annotate(&plexus, "web", "a,b");
    wait_event(&plexus, "web", "AttachFailed", "bytes in sum");
    wait_calls(&plexus, "DEL b net2", 2);
    node.plugin("b", &attaches());
    wait_calls(&plexus, "ADD b net2", 2);
    plexus.runtime.del(&pod.target).expect_success();
    plexus.wait_records(&[]);
    assert_eq!(pod.sandbox.link_names(), ["lo"]);
}

#[test]
fn a_slow_search_for_plugins_does_not_fail_a_change() {
    let (node, cluster) = (node!(), Cluster::new());
    // Plugins are searched for in the mount namespace of the runtime.
    let hidden = node.scratch().join("hidden");
    fs::create_dir(&hidden).expect("create a directory");
    let container = Container {
        hidden: vec![hidden],
        ..Container::default()
    };
    let keys = json!({"hotplug": "on", "binDir": null, "mountNamespace": "caller"});
    let builder = PlexusInCluster::on(&node).config(keys).container(container);
    let mut plexus = PlexusInCluster::build(builder, &cluster);
    plexus.daemon.restart();
    plexus.define("a");
    // The kernel resolves 39 links with 1,000 components each before it finds that a file is missing.
    let dir = node.scratch().join("links");
    fs::create_dir_all(dir.join("x")).expect("create directories");
    for link in 0..39 {
        let target = format!("{}{}", "x/../".repeat(500), link + 1);
        symlink(target, dir.join(link.to_string())).expect("create a link");
    }
    let slow = (0..20).map(|missing| dir.join(format!("0/{missing}")));
    let path = std::env::join_paths(slow.chain([node.bin_dir()])).expect("a search path");
    let runtime = Runtime::of_shim(&node, Flavour::Containerd, json!({}))
        .with_cni_path(path.to_string_lossy());
    let sandbox = node.sandbox("web");
    let target = sandbox.target(&plexus.pod(&Pod::new("web")));
    runtime.add(&target).result();
    let pod = Attached { sandbox, target };
    annotate(&plexus, "web", "a");
    wait_settled(&plexus, "web", &pod, &["eth0", "net1"]);
    let series = r#"plexus_hotplug_rounds_total{outcome="failed"}"#;
    let failed: u64 = metric(&plexus.daemon.metrics(), series);
    assert_eq!(failed, 0);
}
