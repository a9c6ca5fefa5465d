//! Where pods and definitions come from, and that they keep coming.

use std::fs;
use std::process::Command;

use plexus_api::rows;
use plexus_e2e::apiserver::{Effect, Fault};
use plexus_e2e::binaries::binary;
use plexus_e2e::{Daemon, Pod, node};
use serde_json::json;

use crate::bench::{Bench, DEFINITIONS, NODE, PATIENCE, definition};

#[test]
fn pods_and_definitions_come_by_watch() {
    rows!("K-001");
    let node = node!();
    let bench = Bench::start(&node);
    bench.wait_watches();
    let before = bench.reads();
    bench.define("a");
    let pod = bench.pod(Pod::new("p").with_networks("a"));
    let (answer, calls) = bench.add(&bench.older, &pod);
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD a net1"]);
    assert_eq!(bench.reads(), before, "ADD reads nothing");

    // A definition is changed, and then replaced by one that is on the node's disk.
    bench.server.apply(&definition("a", &json!({"cniVersion": "1.0.0", "type": "a", "edited": true}).to_string()));
    bench.define("b");
    let (answer, _) = bench.add(&bench.older, &bench.pod(Pod::new("q").with_networks("b,a")));
    answer.result();
    assert_eq!(node.calls().last().expect("a call").config()["edited"], true);
    assert_eq!(bench.reads(), before);
}

#[test]
fn only_pods_of_this_node_are_watched_and_without_their_spec() {
    let node = node!();
    let bench = Bench::start(&node);
    bench.wait_watches();
    for entry in bench.server.audit().iter().filter(|entry| entry.path.resource == "pods") {
        assert!(entry.uri.contains("fieldSelector=spec.nodeName%3Dnode-1"), "{}", entry.uri);
    }
}

#[test]
fn a_watch_that_breaks_goes_on() {
    let node = node!();
    let bench = Bench::start(&node);
    bench.wait_watches();
    bench.define("gone");
    let lists = || (bench.server.count("list", "pods"), bench.server.count("list", DEFINITIONS));
    let before = lists();

    bench.server.drop_watches("*");
    bench.define("dropped");
    let (answer, calls) = bench.add(&bench.older, &bench.pod(Pod::new("dropped").with_networks("dropped")));
    answer.result();
    assert_eq!(calls, ["ADD main eth0", "ADD dropped net1"]);

    bench.server.fault(Fault::new("watch", "*", Effect::CutAfter(0)).times(2));
    bench.server.fault(Fault::new("watch", "*", Effect::Error(503)).times(2));
    bench.server.drop_watches("*");
    bench.define("refused");
    let (answer, _) = bench.add(&bench.older, &bench.pod(Pod::new("refused").with_networks("refused")));
    answer.result();
    assert_eq!(lists(), before, "nothing was missed, so nothing is listed again");

    // What it knows is too old for the server, and meanwhile something went.
    bench.stop_server();
    bench.server.delete("network-attachment-definitions.k8s.cni.cncf.io", "default", "gone");
    bench.define("new");
    bench.server.compact();
    bench.server.resume();
    let (answer, _) = bench.add(&bench.older, &bench.pod(Pod::new("new").with_networks("new")));
    answer.result();
    let after = lists();
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
    bench.daemon.get("/readyz").expect("an answer");
}

#[test]
fn one_malformed_definition_does_not_hide_the_others() {
    rows!("K-002");
    let node = node!();
    let mut bench = Bench::configured(&node, &json!({"lookupWait": "100ms"}));
    let mut broken = definition("broken", "");
    broken["spec"]["config"] = json!(5);
    bench.server.create(&broken);
    bench.define("a");
    bench.daemon.restart();
    let (answer, _) = bench.add(&bench.containerd, &Pod::new("p").with_networks("a"));
    answer.result();
    let (answer, _) = bench.add(&bench.containerd, &Pod::new("q").with_networks("broken"));
    let msg = answer.expect_code(7);
    assert!(msg.contains("default/broken"), "{msg}");
}

#[test]
fn pods_are_served_where_the_definitions_kind_is_not_installed() {
    let node = node!();
    let mut bench = Bench::new(&node, &json!({"lookupWait": "100ms"}));
    bench.daemon.restart();
    let (answer, calls) = bench.add(&bench.older, &bench.pod(Pod::new("p")));
    answer.result();
    assert_eq!(calls, ["ADD main eth0"]);
    let (answer, _) = bench.add(&bench.containerd, &Pod::new("q").with_networks("a"));
    answer.expect_code(104);
    assert!(bench.daemon.log().contains("CRD is not installed"));
    bench.define_kind();
    bench.define("a");
    bench
        .server
        .wait(PATIENCE * 2, |entries| entries.iter().any(|one| one.is("watch", DEFINITIONS) && one.code == Some(200)));
    let (answer, _) = bench.add(&bench.containerd, &Pod::new("r").with_networks("a"));
    answer.result();
}

#[test]
fn credentials_may_change_while_it_runs() {
    let node = node!();
    let bench = Bench::configured(&node, &json!({"lookupWait": "200ms"}));
    bench.wait_watches();
    let old = bench.server.token("plexusd");
    bench.server.revoke(&old);
    assert_eq!(bench.server.kubeconfig(node.scratch(), "plexusd"), bench.kubeconfig, "written again");
    let count = bench.server.audit().len();
    bench.server.drop_watches("*");
    bench.server.wait(PATIENCE, |entries| {
        let new = &entries[count..];
        let runs = |kind| new.iter().any(|one| one.is("watch", kind) && one.code == Some(200));
        new.iter().any(|one| one.code == Some(401)) && runs("pods") && runs(DEFINITIONS)
    });
    // The client that looks for a single object was made with the second token, and has to have the third.
    let stalled = bench.server.fault(Fault::new("watch", "*", Effect::Stall));
    for name in ["second", "third"] {
        let pod = bench.pod(Pod::new(name));
        bench.add(&bench.older, &pod).0.result();
        bench.server.revoke(&bench.server.token("plexusd"));
        bench.server.kubeconfig(node.scratch(), "plexusd");
    }
    assert_eq!(bench.server.count("get", "pods"), 3, "one of them was refused");
    bench.server.clear(stalled);
}

#[test]
fn in_a_cluster_it_is_found_by_environment_and_service_account() {
    let node = node!();
    let bench = Bench::new(&node, &json!({}));
    bench.define_kind();
    bench.define("a");
    let pod = bench.pod(Pod::new("p").with_networks("a"));
    node.run(|| {
        let dir = std::path::Path::new("/run/secrets/kubernetes.io/serviceaccount");
        bench.server.service_account_dir(dir, "system:serviceaccount:kube-system:plexus", "kube-system");
        // Where a distribution has a directory of its own, the path is not on this node.
        fs::canonicalize("/var/run").is_ok_and(|run| run == std::path::Path::new("/run"))
    })
    .then_some(())
    .expect("/var/run leads to /run");
    let env = bench.server.service_env().into_iter().chain([("MULTUS_NODE_NAME", NODE.to_owned())]);
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
    fs::write(&config, json!({"stateDir": state, "daemonSocketDir": dir.path()}).to_string())
        .expect("it can be written");
    let missing = dir.path().join("kubeconfig");
    let missing = missing.to_str().expect("UTF-8");
    for (args, says) in [
        (vec!["--node-name", "n"], "KUBERNETES_SERVICE_HOST"),
        (vec!["--kubeconfig", missing], "NODE_NAME"),
        (vec!["--kubeconfig", missing, "--node-name", "n"], missing),
        (vec!["--kubeconfig", missing, "--manifests", "."], "cannot be used with"),
    ] {
        let mut command = Command::new(binary("plexusd"));
        command.env_clear().arg("serve").arg("--config").arg(&config).args(&args);
        let output = command.output().expect("it can be executed");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(says), "{args:?}: {stderr}");
    }
}
