//! The connection to the API server and the watches of pods and definitions.

use std::fs;
use std::path::Path;
use std::process::Command;

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault, network_attachment_definition_crd};
use plexus_e2e::binaries::binary;
use plexus_e2e::cluster;
use plexus_e2e::daemon::{Container, Source};
use plexus_e2e::plexus_in_cluster::{DEFINITIONS, TIMEOUT, USER};
use plexus_e2e::{Cluster, Daemon, PlexusInCluster, Pod, node, server};
use serde_json::json;

#[test]
fn pods_and_definitions_are_watched() {
    rows!("K-001");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.wait_watches();
    let before = plexus.reads();
    plexus.define("a");
    let pod = plexus.pod(&Pod::new("p").with_networks("a"));
    let (output, calls) = plexus.add(&plexus.plain_runtime, &pod);
    output.result();
    assert_eq!(calls, ["ADD main eth0", "ADD a net1"]);
    assert_eq!(plexus.reads(), before, "ADD reads nothing");

    // The watch delivers changes in their order: after `b` the change of `a` is known as well.
    plexus.namespace.remove_definition("a");
    plexus.namespace.definition(
        "a",
        &json!({"cniVersion": "1.0.0", "type": "a", "edited": true}),
    );
    plexus.define("b");
    let pod = plexus.pod(&Pod::new("q").with_networks("b,a"));
    plexus.add(&plexus.plain_runtime, &pod).0.result();
    let last = node.calls().pop().expect("a call");
    assert_eq!(last.config()["edited"], true);
    assert_eq!(plexus.reads(), before);
}

#[test]
fn only_pods_of_this_node_are_watched() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.wait_watches();
    let selector = format!("fieldSelector=spec.nodeName%3D{}", plexus.node_name);
    let mut requests = plexus.requests();
    requests.retain(|entry| entry.path.resource == "pods");
    for entry in requests {
        assert!(entry.uri.contains(&selector), "{}", entry.uri);
    }
}

#[test]
fn a_broken_watch_is_resumed() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.wait_watches();
    plexus.define("deleted");
    let lists = || {
        (
            plexus.count("list", "pods"),
            plexus.count("list", DEFINITIONS),
        )
    };
    let before = lists();
    // Adds a pod with the network `name`, which the watches must deliver.
    let add = |name: &str| {
        let pod = plexus.pod(&Pod::new(name).with_networks(name));
        let (output, calls) = plexus.add(&plexus.plain_runtime, &pod);
        output.result();
        calls
    };

    server.drop_watches("*");
    plexus.define("dropped");
    assert_eq!(add("dropped"), ["ADD main eth0", "ADD dropped net1"]);

    for effect in [Effect::CutAfter(0), Effect::Error(503)] {
        server.fault(Fault::new("watch", "*", effect).of_user(USER).times(2));
    }
    server.drop_watches("*");
    plexus.define("refused");
    add("refused");
    assert_eq!(
        lists(),
        before,
        "no change was missed, so nothing is listed"
    );

    // The daemon's resource version is too old, and a definition was deleted in the meantime.
    plexus.stop_server();
    assert!(server.delete(cluster::DEFINITIONS, plexus.namespace.name(), "deleted"));
    let config = json!(r#"{"cniVersion":"1.0.0","type":"main"}"#);
    server.create(&plexus.definition("new", &config));
    server.compact();
    server.resume();
    add("new");
    let after = lists();
    assert!(
        after.0 > before.0 && after.1 > before.1,
        "{before:?} {after:?}"
    );
    let pod = plexus.unknown_pod(Pod::new("deleted").with_networks("deleted"));
    plexus.del(&plexus.runtime, &pod).0.expect_success();
    assert!(!node.calls().iter().any(|call| call.plugin == "deleted"));
}

#[test]
fn a_malformed_definition_does_not_hide_the_others() {
    rows!("K-002");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"lookupWait": "100ms"});
    let mut plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    server.create(&plexus.definition("broken", &json!(5)));
    plexus.define("a");
    plexus.daemon.restart();
    let good = plexus.unknown_pod(Pod::new("p").with_networks("a"));
    plexus.add(&plexus.runtime, &good).0.result();
    let bad = plexus.unknown_pod(Pod::new("q").with_networks("broken"));
    let (output, _) = plexus.add(&plexus.runtime, &bad);
    output.expect_error(7, &[&format!("{}/broken", plexus.namespace.name())]);
}

#[test]
fn pods_are_served_if_the_crd_is_not_installed() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let crd = network_attachment_definition_crd();
    let name = crd["metadata"]["name"].as_str().expect("a name");
    assert!(server.delete("customresourcedefinitions.apiextensions.k8s.io", "", name));
    let keys = json!({"lookupWait": "100ms"});
    let plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    let pod = plexus.pod(&Pod::new("p"));
    let (output, calls) = plexus.add(&plexus.plain_runtime, &pod);
    output.result();
    assert_eq!(calls, ["ADD main eth0"]);
    let pod = plexus.unknown_pod(Pod::new("q").with_networks("a"));
    plexus.add(&plexus.runtime, &pod).0.expect_code(104);
    assert!(plexus.daemon.log().contains("CRD is not installed"));
    server.create(&crd);
    plexus.define("a");
    plexus.wait_watches();
    let pod = plexus.unknown_pod(Pod::new("r").with_networks("a"));
    plexus.add(&plexus.runtime, &pod).0.result();
}

#[test]
fn rotated_credentials_are_reloaded() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"lookupWait": "200ms"});
    let plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    plexus.wait_watches();
    plexus.rotate_token();
    let count = server.audit().len();
    server.drop_watches("*");
    server.wait(TIMEOUT, |entries| {
        let new = &entries[count..];
        let is_watched = |resource| {
            new.iter()
                .any(|entry| entry.matches("watch", resource) && entry.code == Some(200))
        };
        new.iter().any(|entry| entry.code == Some(401))
            && is_watched("pods")
            && is_watched(DEFINITIONS)
    });
    // The client for single objects has the second token, and must reload the third one.
    let stalled = server.fault(Fault::new("watch", "*", Effect::Stall).of_user(USER));
    for name in ["second", "third"] {
        let pod = plexus.pod(&Pod::new(name));
        plexus.add(&plexus.plain_runtime, &pod).0.result();
        plexus.rotate_token();
    }
    // A request with a revoked token has no user in the audit.
    let codes: Vec<_> = server
        .audit()
        .into_iter()
        .filter(|entry| entry.matches("get", "pods"))
        .map(|entry| entry.code)
        .collect();
    assert_eq!(codes, [Some(200), Some(401), Some(200)]);
    server.clear_fault(stalled);
}

#[test]
fn a_daemon_in_a_pod_uses_its_environment_and_service_account() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::build(PlexusInCluster::on(&node), &cluster);
    plexus.define("a");
    let pod = plexus.pod(&Pod::new("p").with_networks("a"));
    node.run(|| {
        let dir = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        // A symbolic link to the node's own directory.
        let run = fs::canonicalize("/var/run").expect("/var/run");
        assert_eq!(run, Path::new("/run"));
        server.service_account_dir(dir, USER, "kube-system");
    });
    let (host, port) = plexus.address();
    let environment = Source::Environment(vec![
        ("KUBERNETES_SERVICE_HOST", host),
        ("KUBERNETES_SERVICE_PORT", port),
        ("MULTUS_NODE_NAME", plexus.node_name.clone()),
    ]);
    let mut daemon = Daemon::new(&node, &plexus.config, environment, Container::default());
    daemon.restart();
    let (output, calls) = plexus.add(&plexus.plain_runtime, &pod);
    output.result();
    assert_eq!(calls, ["ADD main eth0", "ADD a net1"]);
}

#[test]
fn a_missing_setting_for_the_api_server_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.json");
    let settings = json!({"stateDir": dir.path().join("state"), "daemonSocketDir": dir.path()});
    fs::write(&config, settings.to_string()).expect("write the configuration");
    let missing = dir.path().join("kubeconfig");
    let missing = missing.to_str().expect("UTF-8");
    for (args, part) in [
        (vec!["--node-name", "n"], "KUBERNETES_SERVICE_HOST"),
        (vec!["--kubeconfig", missing], "NODE_NAME"),
        (vec!["--kubeconfig", missing, "--node-name", "n"], missing),
        (
            vec!["--kubeconfig", missing, "--manifests", "."],
            "cannot be used with",
        ),
    ] {
        let mut command = Command::new(binary("plexusd"));
        command
            .env_clear()
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .args(&args);
        let output = command.output().expect("execute plexusd");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains(part),
            "{args:?}: {stderr}"
        );
    }
}
