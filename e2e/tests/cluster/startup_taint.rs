//! The start-up taint, with which a new node gets no pods until Plexus works there.

use std::fs;
use std::path::PathBuf;

use plexus_apiserver::{ApiServer, AuditEntry, Effect, Fault};
use plexus_e2e::daemon::Container;
use plexus_e2e::plexus::{MAIN, NET_D};
use plexus_e2e::plexus_in_cluster::{TIMEOUT, USER};
use plexus_e2e::{Cluster, Node, PlexusInCluster, Script, node, server};
use serde_json::{Value, json};

use crate::rules;

const TAINT: &str = "plexus.dev/not-ready";
/// The rights of the component.
const COMPONENT: &str = "deploy/components/startup-taint/access.yaml";

/// A daemon that installs Plexus and removes the taint. There is no default network yet, and the
/// daemon is not running.
fn build<'n>(node: &'n Node, cluster: &'n Cluster) -> PlexusInCluster<'n> {
    build_in(node, cluster, json!({}), Container::default())
}

/// The same with `keys` merged into its configuration, in a container.
fn build_in<'n>(
    node: &'n Node,
    cluster: &'n Cluster,
    keys: Value,
    container: Container,
) -> PlexusInCluster<'n> {
    let usual = json!({
        "multusAutoconfigDir": NET_D, "clusterNetwork": null, "startupTaint": TAINT,
    });
    let builder = PlexusInCluster::on(node)
        .installed()
        .config(usual)
        .config(keys)
        .container(container);
    PlexusInCluster::build(builder, cluster)
}

/// Writes the default network, whose plugin has STATUS since version 1.1.0.
fn write_default_network(node: &Node, version: &str) {
    let config = json!({"cniVersion": version, "name": "pods", "plugins": [{"type": MAIN}]});
    node.write("/etc/cni/net.d/10-pods.conflist", config.to_string());
}

fn taint(key: &str) -> Value {
    json!({"key": key, "effect": "NoSchedule"})
}

/// Creates the node with these taints.
fn create_node(server: &ApiServer, name: &str, taints: &[Value]) {
    let spec = json!({"podCIDR": "10.0.0.0/24", "taints": taints});
    server.create(
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}),
    );
}

/// The keys of the node's taints.
fn taints(server: &ApiServer, name: &str) -> Vec<String> {
    let node = server.get("nodes", "", name).expect("the node");
    assert_eq!(
        node["spec"]["podCIDR"], "10.0.0.0/24",
        "nothing else is changed"
    );
    let taints = node["spec"]["taints"].as_array();
    taints
        .into_iter()
        .flatten()
        .map(|taint| taint["key"].as_str().expect("a key").to_owned())
        .collect()
}

/// The requests of the daemon for nodes as `verb code`.
fn requests(entries: &[AuditEntry]) -> Vec<String> {
    entries
        .iter()
        .filter(|entry| entry.user == USER && entry.path.resource == "nodes")
        .filter_map(|entry| entry.code.map(|code| format!("{} {code}", entry.verb)))
        .collect()
}

/// Waits until the daemon has made exactly these requests.
fn wait_requests(server: &ApiServer, expected: &[&str]) {
    server.wait(TIMEOUT, |entries| requests(entries) == expected);
}

/// Waits until the daemon's last request was a successful patch.
fn wait_patched(server: &ApiServer) {
    server.wait(TIMEOUT, |entries| {
        requests(entries)
            .last()
            .is_some_and(|last| last == "patch 200")
    });
}

#[test]
fn the_taint_is_removed_when_the_node_works_and_other_taints_are_kept() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = build(&node, &cluster);
    let name = plexus.node_name.clone();
    create_node(
        server,
        &name,
        &[taint("first"), taint(TAINT), taint("last")],
    );
    // A node with another daemon.
    create_node(server, "other", &[taint(TAINT)]);
    let rights = ["deploy/node/access.yaml", COMPONENT].map(rules).concat();
    server.restrict(USER, rights);
    write_default_network(&node, "1.1.0");
    plexus.daemon.restart();
    wait_requests(server, &["get 200", "patch 200"]);
    assert_eq!(taints(server, &name), ["first", "last"]);
    assert_eq!(taints(server, "other"), [TAINT]);
    // The daemon has tried STATUS through the shim.
    assert_eq!(plexus.calls(), ["STATUS main"]);
    plexus.daemon.wait_log("the start-up taint is removed");
    assert!(
        plexus
            .daemon
            .metrics()
            .contains("plexus_startup_taint_pending 0\n")
    );

    // The daemon never adds the taint. Without the taint it does not try STATUS.
    plexus.daemon.restart();
    wait_requests(server, &["get 200", "patch 200", "get 200"]);
    assert_eq!(taints(server, &name), ["first", "last"]);
    assert_eq!(node.calls().len(), 1);
}

#[test]
fn the_taint_is_kept_while_there_is_no_default_network() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = build(&node, &cluster);
    create_node(server, &plexus.node_name, &[taint(TAINT)]);
    plexus.daemon.launch();
    plexus.wait_watches();
    plexus.daemon.wait_log("not ready: no default network");
    assert!(
        plexus
            .daemon
            .metrics()
            .contains("plexus_startup_taint_pending 1\n")
    );
    assert_eq!(requests(&server.audit()), [""; 0]);
    assert_eq!(taints(server, &plexus.node_name), [TAINT]);
    write_default_network(&node, "1.1.0");
    wait_requests(server, &["get 200", "patch 200"]);
    assert_eq!(taints(server, &plexus.node_name), [""; 0]);
}

#[test]
fn the_taint_is_kept_while_status_of_the_default_network_fails() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = build(&node, &cluster);
    node.plugin(
        MAIN,
        &Script::new().fails("STATUS", 50, "the agent does not answer"),
    );
    create_node(server, &plexus.node_name, &[taint(TAINT)]);
    write_default_network(&node, "1.1.0");
    // /readyz does not call the plugins.
    plexus.daemon.restart();
    plexus.daemon.wait_log("the agent does not answer");
    plexus
        .daemon
        .wait_log("the start-up taint is not removed yet");
    assert!(
        requests(&server.audit())
            .iter()
            .all(|request| request == "get 200")
    );
    assert_eq!(taints(server, &plexus.node_name), [TAINT]);
    node.plugin(MAIN, &Script::new());
    wait_patched(server);
    assert_eq!(taints(server, &plexus.node_name), [""; 0]);
}

#[test]
fn concurrent_changes_of_other_taints_are_kept() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = build(&node, &cluster);
    let name = plexus.node_name.clone();
    let gate = node.gate("status");
    node.plugin(MAIN, &Script::new().on("STATUS", [gate.step()]));
    let initial = [taint("first"), taint(TAINT), taint("second")];
    create_node(server, &name, &initial);
    write_default_network(&node, "1.1.0");
    plexus.daemon.launch();
    let replace = |taints: &[Value]| {
        let patch = json!({"spec": {"taints": taints}});
        server.patch("nodes", "", &name, &patch).expect("the node");
    };
    // The taint has moved: the patch fails, and the node is read again.
    let held = gate.wait();
    replace(&[taint(TAINT), taint("second"), taint("third")]);
    held.release();
    wait_requests(server, &["get 200", "patch 422", "get 200"]);
    // Taints behind ours have changed: the patch succeeds and keeps them.
    let held = gate.wait();
    replace(&[taint(TAINT), taint("third"), taint("fourth")]);
    held.release();
    wait_requests(server, &["get 200", "patch 422", "get 200", "patch 200"]);
    assert_eq!(taints(server, &name), ["third", "fourth"]);
}

#[test]
fn without_the_rights_pods_are_served_and_the_log_names_the_component() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = build(&node, &cluster);
    create_node(server, &plexus.node_name, &[taint(TAINT)]);
    let usual = rules("deploy/node/access.yaml");
    server.restrict(USER, usual.clone());
    write_default_network(&node, "1.1.0");
    plexus.daemon.restart();
    plexus
        .daemon
        .wait_log("apply deploy/components/startup-taint");
    let log = plexus.daemon.log();
    assert!(log.contains("cannot get resource \"nodes\""), "{log}");
    assert!(plexus.plain_runtime.status().ok());
    assert_eq!(plexus.daemon.status_of("/readyz"), 200);
    assert!(
        plexus
            .daemon
            .metrics()
            .contains("plexus_startup_taint_pending 1\n")
    );
    server.restrict(USER, usual.into_iter().chain(rules(COMPONENT)).collect());
    wait_patched(server);
    assert_eq!(taints(server, &plexus.node_name), [""; 0]);
}

#[test]
fn a_lost_response_and_a_server_error_are_retried() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = build(&node, &cluster);
    create_node(server, &plexus.node_name, &[taint(TAINT), taint("other")]);
    write_default_network(&node, "1.1.0");
    for (verb, effect) in [("get", Effect::Error(500)), ("patch", Effect::LoseResponse)] {
        let fault = Fault::new(verb, "nodes", effect);
        server.fault(fault.of_user(USER).times(1));
    }
    plexus.daemon.restart();
    plexus.daemon.wait_log("500 InternalError");
    // The second successful read finds that the taint is removed.
    server.wait(TIMEOUT, |entries| {
        let requests = requests(entries);
        requests
            .iter()
            .filter(|request| *request == "get 200")
            .count()
            == 2
    });
    assert_eq!(taints(server, &plexus.node_name), ["other"]);
}

#[test]
fn without_the_key_no_node_is_read() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"startupTaint": null});
    let mut plexus = build_in(&node, &cluster, keys, Container::default());
    create_node(server, &plexus.node_name, &[taint(TAINT)]);
    write_default_network(&node, "1.1.0");
    plexus.daemon.restart();
    plexus.wait_watches();
    plexus.daemon.stop();
    let requests = plexus.requests();
    assert!(
        !requests.is_empty() && requests.iter().all(|entry| entry.path.resource != "nodes"),
        "{requests:?}"
    );
    assert_eq!(taints(server, &plexus.node_name), [TAINT]);
}

#[test]
fn uninstall_does_not_remove_the_taint() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = build(&node, &cluster);
    create_node(server, &plexus.node_name, &[taint(TAINT)]);
    write_default_network(&node, "1.1.0");
    plexus.daemon.launch_subcommand("uninstall");
    plexus.daemon.wait_ready();
    plexus.daemon.stop();
    assert_eq!(requests(&server.audit()), [""; 0]);
    assert_eq!(taints(server, &plexus.node_name), [TAINT]);
}

#[test]
fn a_daemon_in_a_container_tries_the_shim_that_it_has_installed() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    // The directory of the shim exists only in the container.
    let root = node.scratch().join("root");
    fs::create_dir(&root).expect("create the directory");
    let bin_dir = node.bin_dir();
    let shim_dir = root.join(bin_dir.strip_prefix("/").expect("an absolute path"));
    let keys = json!({"mountNamespace": "caller", "shimDir": shim_dir, "binDir": null});
    let container = Container {
        hidden: vec![PathBuf::from("/run/netns")],
        root: Some(root),
        own_pids: false,
    };
    let mut plexus = build_in(&node, &cluster, keys, container);
    create_node(server, &plexus.node_name, &[taint(TAINT)]);
    plexus.daemon.launch();
    plexus.wait_watches();
    // From the first call the daemon learns the runtime's mount namespace. Before, it would use
    // that of process 1.
    plexus.plain_runtime.status().expect_code(50);
    // This version has no STATUS, but the plugin must exist.
    write_default_network(&node, "1.0.0");
    wait_requests(server, &["get 200", "patch 200"]);
    assert!(
        node.bin_dir().join("plexus").exists() && !shim_dir.exists(),
        "the directory does not exist on the node"
    );
}

#[test]
fn a_default_network_in_another_plugin_directory_of_the_runtime_does_not_keep_the_taint() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let shim_dir = node.scratch().join("shim-dir");
    fs::create_dir(&shim_dir).expect("create the directory");
    let keys = json!({"shimDir": shim_dir, "binDir": null});
    let mut plexus = build_in(&node, &cluster, keys, Container::default());
    create_node(server, &plexus.node_name, &[taint(TAINT)]);
    write_default_network(&node, "1.1.0");
    plexus.daemon.restart();
    plexus
        .daemon
        .wait_log("is in none of the plugin directories");
    // The runtime has both directories.
    plexus.runtime.status().expect_success();
    wait_patched(server);
    assert_eq!(taints(server, &plexus.node_name), [""; 0]);
}
