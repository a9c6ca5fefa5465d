//! The taint that keeps pods away from a new node until Plexus works there.

use std::fs;
use std::path::{Path, PathBuf};

use plexus_apiserver::{ApiServer, AuditEntry, Effect, Fault, PolicyRule};
use plexus_e2e::{Cluster, Gate, Node, Script, node};
use serde_json::{Value, json};

use crate::bench::{Bench, MAIN, PATIENCE, USER};
use crate::server;

const NET_D: &str = "/etc/cni/net.d";
const TAINT: &str = "plexus.dev/not-ready";

/// A daemon that installs Plexus on its node and takes the taint off it, with `keys`, not started yet. Its default
/// network is asked for STATUS.
fn bench<'n>(node: &'n Node, cluster: &'n Cluster, keys: &Value) -> Bench<'n> {
    node.run(|| fs::create_dir_all(NET_D)).expect("a directory");
    let mut all = json!({
        "cniConfigDir": NET_D, "multusAutoconfigDir": NET_D, "clusterNetwork": null, "shimDir": node.bin_dir(),
        "startupTaint": TAINT,
    });
    for (key, value) in keys.as_object().expect("an object") {
        all[key] = value.clone();
    }
    Bench::new(node, cluster, &all)
}

fn default_network(node: &Node) {
    let config = json!({"cniVersion": "1.1.0", "name": "pods", "plugins": [{"type": MAIN}]});
    node.run(|| fs::write("/etc/cni/net.d/10-pods.conflist", config.to_string()))
        .expect("it can be written");
}

fn taint(key: &str) -> Value {
    json!({"key": key, "effect": "NoSchedule"})
}

/// Registers the node with these taints.
fn register(server: &ApiServer, name: &str, taints: &[Value]) {
    let spec = json!({"podCIDR": "10.0.0.0/24", "taints": taints});
    server.create(
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}),
    );
}

/// The keys of the node's taints.
fn taints(server: &ApiServer, name: &str) -> Vec<String> {
    let node = server.get("nodes", "", name).expect("it is registered");
    assert_eq!(
        node["spec"]["podCIDR"], "10.0.0.0/24",
        "nothing else is touched"
    );
    let taints = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    taints
        .iter()
        .map(|taint| taint["key"].as_str().expect("a key").to_owned())
        .collect()
}

/// What plexusd asked of nodes and was answered: `patch 422`.
fn asked(entries: &[AuditEntry]) -> Vec<String> {
    let of_nodes = entries
        .iter()
        .filter(|one| one.user == USER && one.path.resource == "nodes");
    of_nodes
        .filter_map(|one| one.code.map(|code| format!("{} {code}", one.verb)))
        .collect()
}

/// Waits until plexusd has asked as much of nodes as this, and no more.
fn wait(server: &ApiServer, expected: &[&str]) {
    server.wait(PATIENCE, |entries| asked(entries) == expected);
}

#[test]
fn it_goes_once_the_node_works_and_the_others_stay() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = bench(&node, &cluster, &json!({}));
    register(
        server,
        &bench.name,
        &[taint("first"), taint(TAINT), taint("last")],
    );
    // Another node that waits for its own plexusd.
    register(server, "other", &[taint(TAINT)]);
    // Given the rights of deploy/ and of the component.
    server.restrict(
        USER,
        [&["deploy/node/access.yaml"][..], &[COMPONENT]]
            .concat()
            .iter()
            .flat_map(rules)
            .collect(),
    );
    default_network(&node);
    bench.daemon.restart();
    wait(server, &["get 200", "patch 200"]);
    assert_eq!(taints(server, &bench.name), ["first", "last"]);
    assert_eq!(taints(server, "other"), [TAINT]);
    // It was tried as the runtime does it: the plugin of the default network was asked.
    assert_eq!(
        node.calls()
            .iter()
            .map(plexus_e2e::Call::summary)
            .collect::<Vec<_>>(),
        ["STATUS main"]
    );
    bench.daemon.wait_log("the start-up taint is taken off");
    assert!(metrics(&bench).contains("plexus_startup_taint_pending 0\n"));

    // It is never put on, and without it nothing is tried or written.
    bench.daemon.restart();
    wait(server, &["get 200", "patch 200", "get 200"]);
    assert_eq!(
        (taints(server, &bench.name), node.calls().len()),
        (vec!["first".into(), "last".into()], 1)
    );
}

#[test]
fn it_stays_while_there_is_no_default_network() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = bench(&node, &cluster, &json!({}));
    register(server, &bench.name, &[taint(TAINT)]);
    bench.daemon.launch();
    bench.wait_watches();
    bench.daemon.wait_log("not ready: no default network");
    assert!(metrics(&bench).contains("plexus_startup_taint_pending 1\n"));
    assert_eq!(
        (asked(&server.audit()), taints(server, &bench.name)),
        (vec![], vec![TAINT.to_owned()])
    );
    default_network(&node);
    wait(server, &["get 200", "patch 200"]);
    assert_eq!(taints(server, &bench.name), Vec::<String>::new());
}

#[test]
fn it_stays_while_the_default_network_says_that_it_is_not_ready() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = bench(&node, &cluster, &json!({}));
    node.plugin(
        MAIN,
        &Script::new().fails("STATUS", 50, "the agent does not answer"),
    );
    register(server, &bench.name, &[taint(TAINT)]);
    default_network(&node);
    // The node's own probe does not ask the plugins.
    bench.daemon.restart();
    bench.daemon.wait_log("the agent does not answer");
    bench.daemon.wait_log("the start-up taint stays for now");
    assert!(asked(&server.audit()).iter().all(|one| one == "get 200"));
    assert_eq!(taints(server, &bench.name), [TAINT]);
    node.plugin(MAIN, &Script::new());
    server.wait(PATIENCE, |entries| {
        asked(entries)
            .last()
            .is_some_and(|last| last == "patch 200")
    });
    assert_eq!(taints(server, &bench.name), Vec::<String>::new());
}

#[test]
fn what_others_change_meanwhile_is_kept() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = bench(&node, &cluster, &json!({}));
    let gate: Gate = node.gate("status");
    node.plugin(MAIN, &Script::new().on("STATUS", [gate.step()]));
    register(
        server,
        &bench.name,
        &[taint("first"), taint(TAINT), taint("second")],
    );
    default_network(&node);
    bench.daemon.launch();
    let replace = |taints: &[Value]| {
        server
            .patch(
                "nodes",
                "",
                &bench.name,
                &json!({"spec": {"taints": taints}}),
            )
            .expect("the node is there");
    };
    // Ours is in another place: the patch does not apply, and the node is read again.
    let held = gate.wait();
    replace(&[taint(TAINT), taint("second"), taint("third")]);
    held.release();
    wait(server, &["get 200", "patch 422", "get 200"]);
    // Others have changed behind ours: they stay as they are by then.
    let held = gate.wait();
    replace(&[taint(TAINT), taint("third"), taint("fourth")]);
    held.release();
    wait(server, &["get 200", "patch 422", "get 200", "patch 200"]);
    assert_eq!(taints(server, &bench.name), ["third", "fourth"]);
}

#[test]
fn without_the_rights_pods_are_served_and_it_is_said_what_to_do() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = bench(&node, &cluster, &json!({}));
    register(server, &bench.name, &[taint(TAINT)]);
    let usual = rules(&"deploy/node/access.yaml");
    server.restrict(USER, usual.clone());
    default_network(&node);
    bench.daemon.restart();
    bench
        .daemon
        .wait_log("apply deploy/components/startup-taint");
    assert!(
        bench.daemon.log().contains("cannot get resource \"nodes\""),
        "the server's own words"
    );
    assert!(bench.older.status().ok());
    assert_eq!(bench.daemon.get("/readyz").expect("an answer").status, 200);
    assert!(metrics(&bench).contains("plexus_startup_taint_pending 1\n"));
    server.restrict(USER, usual.into_iter().chain(rules(&COMPONENT)).collect());
    server.wait(PATIENCE, |entries| {
        asked(entries)
            .last()
            .is_some_and(|last| last == "patch 200")
    });
    assert_eq!(taints(server, &bench.name), Vec::<String>::new());
}

#[test]
fn a_lost_answer_and_a_server_in_trouble_are_tried_again() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = bench(&node, &cluster, &json!({}));
    register(server, &bench.name, &[taint(TAINT), taint("other")]);
    default_network(&node);
    server.fault(
        Fault::new("get", "nodes", Effect::Error(500))
            .of_user(USER)
            .times(1),
    );
    server.fault(
        Fault::new("patch", "nodes", Effect::LoseResponse)
            .of_user(USER)
            .times(1),
    );
    bench.daemon.restart();
    // The second look finds it gone.
    bench.daemon.wait_log("500 InternalError");
    server.wait(PATIENCE, |entries| {
        asked(entries)
            .iter()
            .filter(|one| *one == "get 200")
            .count()
            == 2
    });
    assert_eq!(taints(server, &bench.name), ["other"]);
}

#[test]
fn without_the_key_nobody_asks_for_nodes() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = bench(&node, &cluster, &json!({"startupTaint": null}));
    register(server, &bench.name, &[taint(TAINT)]);
    default_network(&node);
    bench.daemon.restart();
    bench.wait_watches();
    bench.daemon.stop();
    let requests = bench.requests();
    assert!(
        !requests.is_empty() && requests.iter().all(|one| one.path.resource != "nodes"),
        "{requests:?}"
    );
    assert_eq!(taints(server, &bench.name), [TAINT]);
}

#[test]
fn who_uninstalls_takes_no_taint_off() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = bench(&node, &cluster, &json!({}));
    register(server, &bench.name, &[taint(TAINT)]);
    default_network(&node);
    bench.daemon.launch_to("uninstall");
    bench.daemon.wait_ready();
    bench.daemon.stop();
    assert_eq!(
        (asked(&server.audit()), taints(server, &bench.name)),
        (vec![], vec![TAINT.to_owned()])
    );
}

#[test]
fn a_daemon_in_a_container_tries_the_shim_that_it_installed_there() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    // The node's plugins are elsewhere, and what the container has as /opt/cni/bin the node does not.
    let root = node.scratch().join("root");
    fs::create_dir(&root).expect("a directory");
    let bin = root.join(node.bin_dir().strip_prefix("/").expect("it is absolute"));
    let keys = json!({"mountNamespace": "caller", "shimDir": bin, "binDir": null});
    let mut bench = bench(&node, &cluster, &keys);
    bench.daemon = bench
        .daemon
        .hiding([PathBuf::from("/run/netns")])
        .with_root_at(root);
    register(server, &bench.name, &[taint(TAINT)]);
    bench.daemon.launch();
    bench.wait_watches();
    // From here on it knows where the runtime is; before, it would go where process 1 is.
    bench.older.status().expect_code(50);
    // A network that need not be asked, but whose plugin must be found.
    let config = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": MAIN}]});
    node.run(|| fs::write("/etc/cni/net.d/10-pods.conflist", config.to_string()))
        .expect("it can be written");
    wait(server, &["get 200", "patch 200"]);
    assert!(
        node.bin_dir().join("plexus").exists() && !bin.exists(),
        "the node does not see it there"
    );
}

/// The component's rights.
const COMPONENT: &str = "deploy/components/startup-taint/access.yaml";

/// The rules of the `ClusterRole` in a file of the repository.
fn rules(file: &&str) -> Vec<PolicyRule> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is above")
        .join(file);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
    let role = objects
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole")
        .expect("a role");
    serde_json::from_value(role["rules"].clone()).expect("rules")
}

fn metrics(bench: &Bench<'_>) -> String {
    bench.daemon.get("/metrics").expect("an answer").body
}
