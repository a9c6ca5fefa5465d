//! `plexusd inspect` says what a pod asks for, would get and has, and where these differ.

use std::process::{Command, Output};

use plexus_apiserver::{Effect, Fault};
use plexus_e2e::binaries::binary;
use plexus_e2e::plexus_in_cluster::TIMEOUT;
use plexus_e2e::{Cluster, Node, Plexus, PlexusInCluster, Pod, Step, attaches, node, server};
use serde_json::{Value, json};

use crate::installed;

fn run(node: &Node, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary("plexusd"));
    command.arg("inspect").args(arguments);
    node.run(|| command.output()).expect("execute plexusd")
}

#[track_caller]
fn inspect(node: &Node, pod: &str) -> Value {
    let output = run(node, &[pod, "-o", "json"]);
    let json = serde_json::from_slice(&output.stdout);
    json.unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The problems, which are exactly one with these texts.
#[track_caller]
fn expect_problem(inspection: &Value, texts: &[&str]) {
    let problems = inspection["problems"].as_array().expect("a list");
    let [problem] = problems.as_slice() else {
        panic!("{inspection:#}")
    };
    for text in texts {
        assert!(problem.to_string().contains(text), "{text}: {inspection:#}");
    }
}

/// A pod that is attached to the network `lan`, with secrets in its annotation.
fn attached<'n>(plexus: &Plexus<'n>) -> plexus_e2e::Sandbox<'n> {
    plexus.networks(&["lan"]);
    let element =
        json!([{"name": "lan", "interface": "lan0", "cni-args": {"password": "hunter2"}}]);
    let pod = Pod::new("web").with_networks(element.to_string());
    plexus.manifests.pod(&pod);
    let sandbox = plexus.node.sandbox("web");
    plexus.runtime.add(&sandbox.target(&pod)).result();
    sandbox
}

#[test]
fn a_healthy_pod_has_what_it_asks_for() {
    let node = node!();
    let plexus = installed(&node);
    let sandbox = attached(&plexus);
    let inspection = inspect(&node, "default/web");
    assert_eq!(inspection["problems"], json!([]), "{inspection:#}");
    let asks = json!([{"network": "default/lan", "interface": "lan0", "keys": ["cni-args"]}]);
    assert_eq!(inspection["asks"], asks);
    let would_get = &inspection["wouldGet"]["attachments"];
    assert_eq!(would_get[1]["interface"], "lan0", "{inspection:#}");
    let has = &inspection["has"][0];
    assert_eq!(has["containerId"], sandbox.id());
    assert_eq!(has["attachments"][1]["state"], "attached");
    assert_eq!(inspection["networkStatus"][1]["interface"], "lan0");
    let output = run(&node, &["default/web"]);
    let text = String::from_utf8(output.stdout).expect("text");
    for part in [
        "Problems\n  none",
        "default/lan (lan0, cni-args)",
        "lan0",
        "attached",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for output in [text, inspection.to_string()] {
        assert!(!output.contains("hunter2"), "{output}");
    }
}

#[test]
fn what_differs_is_named() {
    let node = node!();
    let plexus = installed(&node);
    let sandbox = attached(&plexus);
    // The annotation changes.
    let changed = |networks: &str| {
        plexus
            .manifests
            .pod(&Pod::new("web").with_networks(networks));
        inspect(&node, "default/web")
    };
    let element = r#"[{"name": "lan", "interface": "lan0", "cni-args": {"password": "other"}}]"#;
    expect_problem(
        &changed(element),
        &["lan0", "other parameters", "delete the pod"],
    );
    let element = r#"[{"name": "lan", "interface": "lan0", "cni-args": {"password": "hunter2"}}]"#;
    assert_eq!(changed(element)["problems"], json!([]));
    // Something removes the interface.
    sandbox.ip("link delete lan0");
    let inspection = inspect(&node, "default/web");
    expect_problem(
        &inspection,
        &["lan0", "default/lan", "no longer in the sandbox"],
    );
    // The definition is deleted.
    plexus.manifests.remove_definition("lan");
    let inspection = inspect(&node, "default/web");
    let problems = inspection["problems"].to_string();
    assert!(problems.contains("could not start again"), "{problems}");
    assert!(
        inspection["wouldGet"]["error"].is_string(),
        "{inspection:#}"
    );
}

#[test]
fn a_pod_that_cannot_start_is_explained() {
    let node = node!();
    let plexus = installed(&node);
    plexus
        .manifests
        .pod(&Pod::new("web").with_networks("missing"));
    let inspection = inspect(&node, "default/web");
    expect_problem(
        &inspection,
        &["cannot start", "no network-attachment-definition"],
    );
    assert_eq!(inspection["has"], json!([]));
    plexus.manifests.pod(&Pod::new("web").with_networks("[{"));
    let output = run(&node, &["default/web"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("the annotation is invalid"), "{text}");
    assert!(!text.contains("no network beside"), "{text}");
    assert!(inspect(&node, "default/web")["asksError"].is_string());
}

#[test]
fn the_error_of_an_add_that_was_undone_is_named_while_its_daemon_runs() {
    let node = node!();
    let mut plexus = installed(&node);
    let exhausted = "no IP addresses available in range set: 10.9.0.2-10.9.0.14";
    plexus.network("lan", &attaches().fails("ADD", 11, exhausted));
    plexus.manifests.pod(&Pod::new("web").with_networks("lan"));
    let (_sandbox, target) = plexus.sandbox("web", "lan");
    plexus.runtime.add(&target).expect_code(11);
    let inspection = inspect(&node, "default/web");
    expect_problem(&inspection, &["has no sandbox", exhausted]);
    let last = &inspection["lastErrors"][0];
    assert_eq!(last["reason"], "AttachFailed", "{inspection:#}");
    assert!(last["message"].to_string().contains(exhausted), "{last:#}");
    let text = run(&node, &["default/web"]).stdout;
    let text = String::from_utf8_lossy(&text);
    assert!(
        text.contains("Last errors") && text.contains(exhausted),
        "{text}"
    );
    plexus.daemon.restart();
    expect_problem(&inspect(&node, "default/web"), &["has no sandbox yet"]);
}

#[test]
fn a_failing_del_is_the_last_error() {
    let node = node!();
    let plexus = installed(&node);
    plexus.network("lan", &attaches().fails("DEL", 11, "the switch is down"));
    let pod = Pod::new("web").with_networks("lan");
    plexus.manifests.pod(&pod);
    let (_sandbox, target) = plexus.attached("web", "lan");
    plexus.runtime.del(&target).expect_code(11);
    let inspection = inspect(&node, "default/web");
    expect_problem(&inspection, &["DEL", "the switch is down"]);
    let error = inspection["has"][0]["lastError"].to_string();
    assert!(error.contains("the switch is down"), "{error}");
}

#[test]
fn a_pod_of_another_node_and_an_unknown_pod_are_errors() {
    let (node, cluster) = (node!(), Cluster::new());
    let _server = server!(cluster);
    let mut plexus = PlexusInCluster::build(PlexusInCluster::on(&node), &cluster);
    plexus.daemon.restart();
    let other = plexus.namespace.pod(&Pod::new("other"), "node-7");
    let error = |pod: &str| {
        let output = run(&node, &[pod]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    let text = error(&format!("{}/other", other.namespace));
    assert!(
        text.contains("is on node node-7: inspect it there"),
        "{text}"
    );
    let text = error(&format!("{}/missing", other.namespace));
    assert!(
        text.contains("the cluster has no pod of this name"),
        "{text}"
    );
    let text = error("other");
    assert!(text.contains("is not NAMESPACE/NAME"), "{text}");
}

#[test]
fn a_pod_of_a_cluster_is_inspected_with_its_network_status() {
    let (node, cluster) = (node!(), Cluster::new());
    let _server = server!(cluster);
    let mut plexus = PlexusInCluster::build(PlexusInCluster::on(&node), &cluster);
    plexus.daemon.restart();
    plexus.define("lan");
    let pod = plexus.pod(&Pod::new("web").with_networks("lan"));
    let sandbox = node.sandbox("web");
    plexus.plain_runtime.add(&sandbox.target(&pod)).result();
    let name = format!("{}/web", pod.namespace);
    let inspection = inspect(&node, &name);
    assert_eq!(inspection["problems"], json!([]), "{inspection:#}");
    let source = inspection["source"].as_str().expect("a source");
    assert!(source.contains(&plexus.node_name), "{source}");
    let network = format!("{}/lan", pod.namespace);
    assert_eq!(inspection["networkStatus"][1]["name"], network);
    // Another program changes the annotation.
    let status = json!([{"name": "pods", "interface": "eth0", "default": true}]).to_string();
    let key = "k8s.v1.cni.cncf.io/network-status";
    plexus
        .namespace
        .annotate_pod("web", &json!({ key: status }));
    let inspection = inspect(&node, &name);
    expect_problem(
        &inspection,
        &["network-status does not have network", &network],
    );
    for (value, text) in [
        (json!("{"), "network-status cannot be read"),
        (json!(null), "something has removed it"),
    ] {
        plexus.namespace.annotate_pod("web", &json!({ key: value }));
        expect_problem(&inspect(&node, &name), &[text]);
    }
}

#[test]
fn a_network_status_that_was_never_written_is_a_problem() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = PlexusInCluster::build(PlexusInCluster::on(&node), &cluster);
    plexus.daemon.restart();
    server.fault(Fault::new("patch", "pods/status", Effect::Error(500)));
    let pod = plexus.pod(&Pod::new("web"));
    let sandbox = node.sandbox("web");
    plexus.plain_runtime.add(&sandbox.target(&pod)).result();
    // The second attempt follows the failure of the first.
    server.wait(TIMEOUT, |entries| {
        let mut attempts = entries.iter();
        attempts
            .by_ref()
            .find(|entry| entry.matches("patch", "pods/status"));
        attempts.any(|entry| entry.matches("patch", "pods/status"))
    });
    let inspection = inspect(&node, &format!("{}/web", pod.namespace));
    expect_problem(
        &inspection,
        &["network-status is not written yet: 500", "plexusd retries"],
    );
    let write = &inspection["networkStatusWrite"];
    assert_eq!(write["state"], "failed", "{inspection:#}");
    assert!(write["error"].to_string().contains("500"), "{write}");
    plexus.daemon.kill();
    let config = node.scratch().join("daemon-config.json");
    let mut command = Command::new(binary("plexusd"));
    command.args([
        "inspect",
        &format!("{}/web", pod.namespace),
        "-o",
        "json",
        "--config",
    ]);
    command
        .arg(config)
        .arg("--kubeconfig")
        .arg(&plexus.kubeconfig);
    command.args(["--node-name", &plexus.node_name]);
    let output = node.run(|| command.output()).expect("execute plexusd");
    let inspection: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    expect_problem(
        &inspection,
        &["network-status is not written yet; plexusd retries"],
    );
    assert_eq!(inspection["networkStatusWrite"], json!(null));
}

#[test]
fn a_change_of_a_running_pod_is_explained_until_its_network_status_is_written() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start_with(&node, &cluster, json!({"hotplug": "on"}));
    plexus.define("lan");
    let [first, second] = ["first", "second"].map(|name| node.gate(name));
    let fails = [first.step(), Step::error(11, "no address is free")];
    node.plugin("lan", &attaches().on("ADD", fails));
    let pod = plexus.pod(&Pod::new("web"));
    let sandbox = node.sandbox("web");
    plexus.runtime.add(&sandbox.target(&pod)).result();
    let name = format!("{}/web", pod.namespace);
    assert_eq!(inspect(&node, &name)["hotplugRound"], json!(null));
    let annotations = json!({"k8s.v1.cni.cncf.io/networks": "lan"});
    plexus.namespace.annotate_pod("web", &annotations);

    let held = first.wait();
    let inspection = inspect(&node, &name);
    let round = &inspection["hotplugRound"];
    assert_eq!(
        (&round["state"], &round["error"]),
        (&json!("running"), &json!(null))
    );
    // The running plugin keeps its script.
    let succeeds = [second.step(), Step::link()];
    node.plugin("lan", &attaches().on("ADD", succeeds));
    held.release();
    let held = second.wait();
    let inspection = inspect(&node, &name);
    let round = &inspection["hotplugRound"];
    assert!(
        round["error"].to_string().contains("no address is free"),
        "{inspection:#}"
    );
    let text = "hot-plug has been changing the pod for";
    let problems = inspection["problems"].to_string();
    assert!(
        problems.contains(text) && problems.contains("no address is free"),
        "{problems}"
    );

    server.fault(Fault::new("patch", "pods/status", Effect::Error(403)));
    held.release();
    let network = format!("{}/lan", pod.namespace);
    server.wait(TIMEOUT, |entries| {
        let writes = entries
            .iter()
            .filter(|entry| entry.matches("patch", "pods/status") && entry.body.contains(&network));
        // The second attempt follows the refusal of the first.
        writes.count() == 2
    });
    let inspection = inspect(&node, &name);
    assert_eq!(inspection["networkStatusWrite"]["state"], "refused");
    let problems = inspection["problems"].to_string();
    assert!(
        problems.contains("network-status is not written yet: 403"),
        "{problems}"
    );
    let shown = inspection["networkStatus"].as_array().map(Vec::len);
    assert_eq!(shown, Some(1), "the old one: {inspection:#}");
}

#[test]
fn a_network_status_that_is_too_large_is_a_problem() {
    let (node, cluster) = (node!(), Cluster::new());
    server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("large");
    let search: Vec<_> = (0..15_000)
        .map(|index| format!("d{index}.example.org"))
        .collect();
    let result = json!({
        "cniVersion": "$CNIVERSION", "interfaces": [{"name": "$IFNAME", "sandbox": "$NETNS"}],
        "dns": {"search": search},
    });
    let large = attaches().on("ADD", [Step::link(), Step::Result(result)]);
    node.plugin("large", &large);
    let pod = plexus.pod(&Pod::new("web").with_networks("large"));
    let sandbox = node.sandbox("web");
    plexus.runtime.add(&sandbox.target(&pod)).result();
    let inspection = inspect(&node, &format!("{}/web", pod.namespace));
    expect_problem(&inspection, &["network-status is not written", "256 KiB"]);
}
