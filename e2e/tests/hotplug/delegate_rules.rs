//! What `/delegate` refuses.

use plexus_api::json::{MAX_CONFIG, MAX_DEPTH};
use plexus_e2e::{Cluster, PlexusInCluster, attaches, node};
use serde_json::{Value, json};

use super::program::{Request, network};
use super::{annotate, attach, calls};

#[test]
fn invalid_requests_are_refused_before_any_plugin_runs() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    let pod = attach(&plexus, "web", "");
    // The definition is known from now on.
    let other = attach(&plexus, "other", "a");
    let add = || Request::new("ADD", &pod, "data0", network("a"));
    let with_config = |config: Value| Request { config, ..add() };
    let with_key = |key: &str, value: Value| {
        let mut config = network("a");
        config[key] = value;
        with_config(config)
    };
    let nested = (0..=MAX_DEPTH).fold(json!(1), |value, _| json!([value]));
    let network_call = |verb: &str| {
        let config = json!({
            "cniVersion": "1.1.0", "name": "a", "type": "plexus", "cni.dev/valid-attachments": [],
        });
        let request = Request::new(verb, &pod, "", config);
        request.with("CNI_PATH", &node.bin_dir().display().to_string())
    };
    let with_attributes = |attributes: Value| add().with_attributes(attributes);
    let args = |uid: &str| {
        let namespace = plexus.namespace.name();
        format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=web;K8S_POD_UID={uid}")
    };
    let cases = [
        (add().with("CNI_COMMAND", "VERSION"), 4, "VERSION"),
        (add().with("CNI_COMMAND", "PLUG"), 4, "PLUG"),
        (add().with("CNI_IFNAME", ""), 4, "NETWORK@INTERFACE"),
        (add().with("CNI_IFNAME", "a/b"), 4, "CNI_IFNAME"),
        (add().without("CNI_CONTAINERID"), 4, "CNI_CONTAINERID"),
        (add().without("CNI_NETNS"), 4, "CNI_NETNS"),
        (add().without("CNI_ARGS"), 4, "K8S_POD_NAMESPACE"),
        (add().with("CNI_ARGS", "K8S_POD_NAME"), 4, "KEY=VALUE"),
        (add().with("CNI_ARGS", &args("other")), 4, "belongs to pod"),
        (add().with("CNI_CONTAINERID", "unknown"), 3, "unknown"),
        (
            add().with("CNI_CONTAINERID", &other.target.container),
            4,
            "belongs to pod",
        ),
        (
            add().with("CNI_NETNS", &other.target.netns),
            4,
            "is not the network namespace",
        ),
        (
            add().with("CNI_NETNS", "/run/netns/missing"),
            4,
            "/run/netns/missing",
        ),
        (
            with_config(json!({"cniVersion": "1.0.0", "type": "a"})),
            7,
            "name",
        ),
        (
            with_config(json!({"cniVersion": "1.0.0", "name": "a"})),
            7,
            "a",
        ),
        (
            with_config(json!({"cniVersion": "9.0.0", "name": "a", "type": "a"})),
            1,
            "9.0.0",
        ),
        (with_config(json!("text")), 6, "config"),
        (
            with_key("note", json!(" ".repeat(MAX_CONFIG))),
            6,
            "more than 2097152 bytes",
        ),
        (with_key("note", nested), 6, "nested deeper"),
        (with_config(network("plexus")), 7, "would call Plexus again"),
        (network_call("STATUS"), 7, "would call Plexus again"),
        (network_call("GC"), 7, "would call Plexus again"),
        (with_config(network("missing")), 102, "missing"),
        (
            with_key("ipam", json!({"type": "missing"})),
            102,
            "ipam.type",
        ),
        (
            with_attributes(json!({"mac": "x"})),
            105,
            "interfaceAttributes\", key \"mac\"",
        ),
        (with_attributes(json!({"ips": ["x"]})), 105, "key \"ips\""),
        (
            with_attributes(json!({"cni-args": 7})),
            105,
            "key \"cni-args\"",
        ),
        (with_attributes(json!([])), 105, "is not an object"),
    ];
    for (request, code, part) in &cases {
        request.fail(&plexus, *code, &["/delegate", part]);
    }
    let reply = plexus.daemon.post("/delegate", b"{").expect("a response");
    assert!(
        reply.status == 400 && reply.body.contains("/delegate"),
        "{reply:?}"
    );
    assert_eq!(
        plexus.daemon.get("/delegate").expect("a response").status,
        405
    );
    assert_eq!(calls(&pod, &plexus), ["ADD main eth0"]);
    add().succeed(&plexus);
}

#[test]
fn policies_apply_to_networks_of_programs() {
    let (node, cluster) = (node!(), Cluster::new());
    let (elsewhere, shared) = (cluster.namespace(), cluster.namespace());
    let keys = json!({
        "namespaceIsolation": true,
        "globalNamespaces": shared.name(),
        "allowedPluginTypes": {
            "*": ["a"], (elsewhere.name()): ["a", "b"], (shared.name()): ["b"],
        },
    });
    let plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    for name in ["a", "b"] {
        node.plugin(name, &attaches());
    }
    let plugin = |name: &str| json!({"cniVersion": "1.0.0", "name": name, "type": "a"});
    elsewhere.definition("theirs", &plugin("theirs"));
    let global = json!({"cniVersion": "1.0.0", "name": "global", "type": "b"});
    shared.definition("global", &global);
    // The last one: a pod that has it proves that the others are known.
    plexus.namespace.definition("own", &plugin("own"));
    let pod = attach(&plexus, "web", "own");
    let add = |ifname: &str, config: Value| Request::new("ADD", &pod, ifname, config);
    let before = calls(&pod, &plexus);
    add("data0", network("b")).fail(&plexus, 106, &["allowedPluginTypes"]);
    let main = node.calls_for(&pod.target.container)[0].config()["name"].clone();
    let main = plugin(main.as_str().expect("a name"));
    add("data0", main).fail(&plexus, 106, &["namespace isolation"]);
    add("data0", plugin("theirs")).fail(&plexus, 106, &["namespace isolation", "theirs"]);
    // The annotation is no way around.
    annotate(
        &plexus,
        "web",
        format!("own,{}/theirs@data0", elsewhere.name()),
    );
    let is_selected = |pod: &Value| {
        pod["metadata"]["annotations"]
            .to_string()
            .contains("theirs")
    };
    plexus.namespace.wait_for_pod("web", is_selected);
    attach(&plexus, "later", "own");
    add("data0", plugin("theirs")).fail(&plexus, 106, &["namespace isolation", "may not use"]);
    assert_eq!(calls(&pod, &plexus), before, "no plugin has run");
    add("data0", plugin("own")).succeed(&plexus);
    add("data1", plugin("without-definition")).succeed(&plexus);
    add("data2", global).succeed(&plexus);
}

#[test]
fn the_definition_of_the_pods_namespace_comes_before_a_global_one() {
    let (node, cluster) = (node!(), Cluster::new());
    let shared = cluster.namespace();
    let keys = json!({
        "globalNamespaces": shared.name(),
        "allowedPluginTypes": {"*": ["a"], (shared.name()): ["b"]},
    });
    let plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    for name in ["a", "b"] {
        node.plugin(name, &attaches());
    }
    let config = |kind: &str| json!({"cniVersion": "1.0.0", "name": "both", "type": kind});
    shared.definition("both", &config("b"));
    plexus.namespace.definition("own", &config("a"));
    // A pod that has it proves that both are known.
    let pod = attach(&plexus, "web", "own");
    let add = |kind: &str| Request::new("ADD", &pod, "data0", config(kind));
    add("b").fail(&plexus, 106, &["allowedPluginTypes", "/own"]);
    add("a").succeed(&plexus);
}
