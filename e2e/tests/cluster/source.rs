//! Where pods and definitions come from, and that they keep coming.

use std::fs;
use std::path::Path;
use std::process::Command;

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault, network_attachment_definition_crd};
use plexus_e2e::binaries::binary;
use plexus_e2e::{Cluster, Daemon, Pod, node};
use serde_json::json;

use crate::bench::{Bench, DEFINITIONS, PATIENCE, USER};
use crate::server;

#[test]
fn pods_and_definitions_come_by_watch() {
    rows!("K-001");
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::start(&node, &cluster);
    bench.wait_watches();
    let before = bench.reads();
    bench.define("a");
    let pod = bench.pod(&Pod::new("p").with_networks("a"));
    let (answer, calls) = bench.add(&bench.older, &pod);
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD a net1"]);
    assert_eq!(bench.reads(), before, "ADD reads nothing");

    // A change comes before what is made after it.
    bench.namespace.remove_definition("a");
    bench.namespace.definition(
        "a",
        &json!({"cniVersion": "1.0.0", "type": "a", "edited": true}),
    );
    bench.define("b");
    let (answer, _) = bench.add(
        &bench.older,
        &bench.pod(&Pod::new("q").with_networks("b,a")),
    );
    answer.result();
    assert_eq!(
        node.calls().last().expect("a call").config()["edited"],
        true
    );
    assert_eq!(bench.reads(), before);
}

#[test]
fn only_pods_of_this_node_are_watched() {
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::start(&node, &cluster);
    bench.wait_watches();
    let selector = format!("fieldSelector=spec.nodeName%3D{}", bench.name);
    for entry in bench
        .requests()
        .iter()
        .filter(|entry| entry.path.resource == "pods")
    {
        assert!(entry.uri.contains(&selector), "{}", entry.uri);
    }
}

#[test]
fn a_watch_that_breaks_goes_on() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    bench.wait_watches();
    bench.define("gone");
    let lists = || {
        (
            bench.count("list", "pods"),
            bench.count("list", DEFINITIONS),
        )
    };
    let before = lists();

    server.drop_watches("*");
    bench.define("dropped");
    let (answer, calls) = bench.add(
        &bench.older,
        &bench.pod(&Pod::new("dropped").with_networks("dropped")),
    );
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD dropped net1"]);

    server.fault(
        Fault::new("watch", "*", Effect::CutAfter(0))
            .of_user(USER)
            .times(2),
    );
    server.fault(
        Fault::new("watch", "*", Effect::Error(503))
            .of_user(USER)
            .times(2),
    );
    server.drop_watches("*");
    bench.define("refused");
    let (answer, _) = bench.add(
        &bench.older,
        &bench.pod(&Pod::new("refused").with_networks("refused")),
    );
    answer.result();
    assert_eq!(
        lists(),
        before,
        "nothing was missed, so nothing is listed again"
    );

    // What it knows is too old for the server, and meanwhile something went.
    bench.stop_server();
    let resource = "network-attachment-definitions.k8s.cni.cncf.io";
    assert!(server.delete(resource, bench.namespace.name(), "gone"));
    server.create(&bench.definition("new", &json!(r#"{"cniVersion":"1.0.0","type":"main"}"#)));
    server.compact();
    server.resume();
    let (answer, _) = bench.add(
        &bench.older,
        &bench.pod(&Pod::new("new").with_networks("new")),
    );
    answer.result();
    let after = lists();
    assert!(
        after.0 > before.0 && after.1 > before.1,
        "{before:?} {after:?}"
    );
    let (answer, _) = bench.del(
        &bench.containerd,
        &bench.unknown_pod(Pod::new("gone").with_networks("gone")),
    );
    answer.expect_silence();
    assert!(
        !node.calls().iter().any(|call| call.plugin == "gone"),
        "it is not known any more"
    );
}

#[test]
fn one_malformed_definition_does_not_hide_the_others() {
    rows!("K-002");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = Bench::configured(&node, &cluster, &json!({"lookupWait": "100ms"}));
    server.create(&bench.definition("broken", &json!(5)));
    bench.define("a");
    bench.daemon.restart();
    let (answer, _) = bench.add(
        &bench.containerd,
        &bench.unknown_pod(Pod::new("p").with_networks("a")),
    );
    answer.result();
    let (answer, _) = bench.add(
        &bench.containerd,
        &bench.unknown_pod(Pod::new("q").with_networks("broken")),
    );
    answer.expect_error(7, &[&format!("{}/broken", bench.namespace.name())]);
}

#[test]
fn pods_are_served_where_the_definitions_kind_is_not_installed() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let kind = network_attachment_definition_crd();
    let name = kind["metadata"]["name"].as_str().expect("a name");
    assert!(server.delete("customresourcedefinitions.apiextensions.k8s.io", "", name));
    let bench = Bench::configured(&node, &cluster, &json!({"lookupWait": "100ms"}));
    let (answer, calls) = bench.add(&bench.older, &bench.pod(&Pod::new("p")));
    answer.result();
    assert_eq!(calls, ["ADD main eth0"]);
    let (answer, _) = bench.add(
        &bench.containerd,
        &bench.unknown_pod(Pod::new("q").with_networks("a")),
    );
    answer.expect_code(104);
    assert!(bench.daemon.log().contains("CRD is not installed"));
    server.create(&kind);
    bench.define("a");
    bench.wait_watches();
    let (answer, _) = bench.add(
        &bench.containerd,
        &bench.unknown_pod(Pod::new("r").with_networks("a")),
    );
    answer.result();
}

#[test]
fn credentials_may_change_while_it_runs() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::configured(&node, &cluster, &json!({"lookupWait": "200ms"}));
    bench.wait_watches();
    bench.rotate_token();
    let count = server.audit().len();
    server.drop_watches("*");
    server.wait(PATIENCE, |entries| {
        let new = &entries[count..];
        let runs = |kind| {
            new.iter()
                .any(|one| one.matches("watch", kind) && one.code == Some(200))
        };
        new.iter().any(|one| one.code == Some(401)) && runs("pods") && runs(DEFINITIONS)
    });
    // The client that looks for a single object was made with the second token, and has to have the third.
    let stalled = server.fault(Fault::new("watch", "*", Effect::Stall).of_user(USER));
    for name in ["second", "third"] {
        let pod = bench.pod(&Pod::new(name));
        bench.add(&bench.older, &pod).0.result();
        bench.rotate_token();
    }
    // Who asked with the second token then is not known.
    let gets = server
        .audit()
        .into_iter()
        .filter(|entry| entry.matches("get", "pods"));
    assert_eq!(
        gets.map(|entry| entry.code).collect::<Vec<_>>(),
        [Some(200), Some(401), Some(200)]
    );
    server.clear_fault(stalled);
}

#[test]
fn in_a_cluster_it_is_found_by_environment_and_service_account() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::new(&node, &cluster, &json!({}));
    bench.define("a");
    let pod = bench.pod(&Pod::new("p").with_networks("a"));
    node.run(|| {
        // A link to /run, which is the node's own.
        let dir = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        assert_eq!(
            fs::canonicalize("/var/run").expect("it is there"),
            Path::new("/run")
        );
        server.service_account_dir(dir, USER, "kube-system");
    });
    let (host, port) = bench.address();
    let env = [
        ("KUBERNETES_SERVICE_HOST", host),
        ("KUBERNETES_SERVICE_PORT", port),
    ];
    let env = env
        .into_iter()
        .chain([("MULTUS_NODE_NAME", bench.name.clone())]);
    let mut daemon = Daemon::in_cluster(&node, &bench.config, env);
    daemon.restart();
    let (answer, calls) = bench.add(&bench.older, &pod);
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD a net1"]);
}

#[test]
fn what_is_missing_to_reach_a_cluster_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = dir.path().join("config.json");
    let state = dir.path().join("state");
    fs::write(
        &config,
        json!({"stateDir": state, "daemonSocketDir": dir.path()}).to_string(),
    )
    .expect("it can be written");
    let missing = dir.path().join("kubeconfig");
    let missing = missing.to_str().expect("UTF-8");
    for (args, says) in [
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
        let output = command.output().expect("it can be executed");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains(says),
            "{args:?}: {stderr}"
        );
    }
}
