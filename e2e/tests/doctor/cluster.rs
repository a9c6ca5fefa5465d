//! Faults of the API server, and of the node in the cluster.

use plexus_apiserver::{Effect, Fault, PolicyRule};
use plexus_e2e::json::with_keys;
use plexus_e2e::plexus_in_cluster::USER;
use plexus_e2e::{Cluster, Node, PlexusInCluster, Pod, node, server, workspace, yaml};
use serde_json::{Value, json};

use crate::Diagnosis;

const TAINT: &str = "plexus.dev/not-ready";

/// A daemon in a cluster, installed on the node.
fn start<'n>(node: &'n Node, cluster: &'n Cluster) -> PlexusInCluster<'n> {
    let builder = PlexusInCluster::on(node).installed();
    let mut plexus = PlexusInCluster::build(builder, cluster);
    plexus.daemon.restart();
    plexus
}

fn create_node(cluster: &Cluster, name: &str, taints: &Value) {
    let server = cluster.server().expect("the server in memory");
    server.create(&json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {"taints": taints},
    }));
}

/// The rules of the `ClusterRole` in a file of the repository.
fn rules(file: &str) -> Vec<PolicyRule> {
    let objects = yaml::documents(&workspace::read(file)).expect("a YAML file");
    let mut objects = objects.into_iter();
    let role = objects.find(|object| object["kind"] == "ClusterRole");
    serde_json::from_value(role.expect("a ClusterRole")["rules"].clone()).expect("rules")
}

#[test]
fn a_healthy_node_of_a_cluster_has_no_finding() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let files = ["deploy/node", "deploy/components/startup-taint"];
    let deployed = files.map(|dir| rules(&format!("{dir}/access.yaml")));
    server.restrict(USER, deployed.concat());
    let mut plexus = start(&node, &cluster);
    create_node(&cluster, &plexus.node_name, &json!([]));
    plexus.define("lan");
    plexus.daemon.stop();
    let keys = with_keys(plexus.config.clone(), json!({"startupTaint": TAINT}));
    plexus.daemon.configure(&keys);
    plexus.daemon.restart();
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_nothing();
    for check in ["api-server", "clock", "api-rights", "crd", "startup-taint"] {
        let results = diagnosis.json["checks"].as_array().expect("a list");
        let result = results.iter().find(|result| result["check"] == check);
        assert_eq!(result.expect(check)["result"], "ok", "{check}");
    }
}

#[test]
fn a_pod_that_has_ended_is_no_finding() {
    let (node, cluster) = (node!(), Cluster::new());
    let _server = server!(cluster);
    let plexus = start(&node, &cluster);
    plexus.pod(&Pod::new("job").with_networks("missing"));
    Diagnosis::of(&node, "").expect_failed("pods", &["/job", "cannot start"]);
    let config = json!({"cniVersion": "1.0.0", "type": "missing"});
    plexus.namespace.definition("missing", &config);
    Diagnosis::of(&node, "").expect_failed("definitions", &["is in none"]);
    let namespace = plexus.namespace.name();
    let path = format!("/api/v1/namespaces/{namespace}/pods/job/status");
    let status = json!({"status": {"phase": "Succeeded"}});
    let patched = cluster.client().merge_patch(&path, &status);
    assert_eq!(patched.expect("a response").code, 200);
    // The definition may be meant for other nodes.
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_first("warning", "definitions", &["is in none"]);
    assert_eq!(diagnosis.findings().len(), 1, "{:#}", diagnosis.json);
}

#[test]
fn an_api_server_that_is_unavailable_is_named() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster);
    plexus.define("lan");
    plexus.wait_snapshot("lan");
    server.stop();
    let diagnosis = Diagnosis::of(&node, "");
    diagnosis.expect_failed("api-server", &["cannot be reached", "credentials"]);
    // The definitions come from the snapshot, as for the daemon.
    assert_eq!(diagnosis.checks(), ["api-server"], "{:#}", diagnosis.json);
}

#[test]
fn missing_rights_are_named() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let _plexus = start(&node, &cluster);
    let rules = serde_json::from_value(json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["k8s.cni.cncf.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
    ]));
    server.restrict(USER, rules.expect("rules"));
    let diagnosis = Diagnosis::of(&node, "");
    let expected = ["may not watch pods, patch pods/status", "access.yaml"];
    diagnosis.expect_failed("api-rights", &expected);
}

#[test]
fn a_missing_custom_resource_definition_is_named() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let _plexus = start(&node, &cluster);
    let crd = "customresourcedefinitions.apiextensions.k8s.io";
    assert!(server.delete(crd, "", "network-attachment-definitions.k8s.cni.cncf.io"));
    Diagnosis::of(&node, "").expect_failed("crd", &["plexusd crd"]);
}

#[test]
fn refused_credentials_are_named() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let _plexus = start(&node, &cluster);
    let token = server.token(USER);
    server.revoke_token(&token);
    Diagnosis::of(&node, "").expect_failed("api-server", &["401", "credentials"]);
}

#[test]
fn a_node_with_its_startup_taint_or_another_name_is_named() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut plexus = start(&node, &cluster);
    // The daemon cannot remove the taint.
    server.fault(Fault::new("patch", "nodes", Effect::Error(500)));
    plexus.daemon.stop();
    let keys = with_keys(plexus.config.clone(), json!({"startupTaint": TAINT}));
    plexus.daemon.configure(&keys);
    plexus.daemon.restart();
    let expected = ["no node of this name", "--node-name"];
    Diagnosis::of(&node, "").expect_failed("startup-taint", &expected);
    create_node(
        &cluster,
        &plexus.node_name,
        &json!([{"key": TAINT, "effect": "NoSchedule"}]),
    );
    let expected = [TAINT, "no pod is scheduled"];
    Diagnosis::of(&node, "").expect_failed("startup-taint", &expected);
}
