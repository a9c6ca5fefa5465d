//! `/delegate`: a program attaches and detaches networks of a running pod.

use plexus_api::rows;
use plexus_e2e::{Cluster, PlexusInCluster, Script, attaches, node};
use serde_json::{Value, json};

use super::program::{Request, network};
use super::{annotate, attach, calls, start, wait_interfaces};

#[test]
fn a_program_attaches_checks_and_detaches_a_network_of_a_running_pod() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    node.plugin("b", &attaches());
    let pod = attach(&plexus, "web", "");
    let request = |verb: &str| Request::new(verb, &pod, "data0", network("a"));
    wait_interfaces(&plexus, "web", &["eth0"]);
    let writes = plexus.count("patch", "pods/status");

    let result = request("ADD").succeed(&plexus);
    assert_eq!(result["cniVersion"], "1.1.0");
    assert_eq!(result["interfaces"][0]["name"], "data0");
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0", "data0"]);
    let add = node.calls_for(&pod.target.container).pop().expect("a call");
    assert_eq!(add.config(), network("a"), "the configuration as sent");
    assert_eq!(add.env("CNI_NETNS"), pod.target.netns);

    let again = request("ADD").succeed(&plexus);
    assert_eq!(again, result, "the recorded result");
    let without_uid = pod.target.pod.as_ref().map_or_else(String::new, |pod| {
        format!(
            "K8S_POD_NAMESPACE={};K8S_POD_NAME={}",
            pod.namespace, pod.name
        )
    });
    request("CHECK")
        .with("CNI_ARGS", &without_uid)
        .succeed(&plexus);
    let check = node.calls_for(&pod.target.container).pop().expect("a call");
    assert_eq!(check.summary(), "CHECK a data0");
    assert_eq!(
        check.config()["prevResult"]["interfaces"][0]["name"],
        "data0"
    );
    plexus.runtime.check(&pod.target).expect_success();
    let record = plexus.record();
    assert!(
        record.contains("statusWritten"),
        "the program writes network-status: {record}"
    );

    assert_eq!(request("DEL").send(&plexus), (200, Value::Null));
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0"]);
    request("DEL").succeed(&plexus);
    request("CHECK").fail(&plexus, 108, &["data0", "is not attached"]);
    let expected = [
        "ADD main eth0",
        "ADD a data0",
        "CHECK a data0",
        "CHECK main eth0",
        "DEL a data0",
    ];
    assert_eq!(calls(&pod, &plexus), expected);
    assert_eq!(plexus.count("patch", "pods/status"), writes);
    let namespace = plexus.namespace.name();
    for text in [
        format!("Add data0 [10.1.2.3/24] from {namespace}/a"),
        format!("Remove data0 from {namespace}/a"),
    ] {
        let has_text = |event: &Value| event["message"] == text.as_str();
        plexus.namespace.wait_for_event("web", has_text);
    }
}

#[test]
fn the_sandbox_covers_what_a_program_has_attached() {
    rows!("P-110");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start_with(&node, &cluster, json!({"checkPlugins": "all"}));
    let mut config = network("a");
    config["cniVersion"] = json!("1.1.0");
    node.plugin("a", &attaches());
    let pod = attach(&plexus, "web", "");
    Request::new("ADD", &pod, "data0", config.clone()).succeed(&plexus);
    plexus.runtime.check(&pod.target).expect_success();
    // The runtime knows the interface of the default network alone.
    let gc = plexus.runtime.gc(&[(&pod.target.container, "eth0")]);
    gc.expect_success();
    let gcs = plexus.calls_of("GC");
    let gc = gcs.iter().find(|call| call.plugin == "a").expect("GC of a");
    let valid = json!([{"containerID": pod.target.container, "ifname": "data0"}]);
    assert_eq!(gc.config()["cni.dev/valid-attachments"], valid);
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0", "data0"]);

    pod.sandbox.ip("link del data0");
    let check = Request::new("CHECK", &pod, "data0", config.clone());
    check.fail(&plexus, 108, &["data0", "missing"]);
    plexus
        .runtime
        .check(&pod.target)
        .expect_error(108, &["data0", "missing"]);
    plexus.runtime.del(&pod.target).expect_success();
    plexus.wait_records(&[]);
    let expected = ["DEL a data0", "DEL main eth0"];
    assert!(calls(&pod, &plexus).ends_with(&expected.map(str::to_owned)));
    let del = Request::new("DEL", &pod, "data0", config.clone());
    del.succeed(&plexus);
    Request::new("ADD", &pod, "data0", config).fail(&plexus, 3, &["no sandbox"]);
}

#[test]
fn an_interface_belongs_to_one_network() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    for name in ["a", "b"] {
        plexus.define(name);
    }
    let pod = attach(&plexus, "web", "a@data0");
    let request =
        |verb: &str, ifname: &str, name: &str| Request::new(verb, &pod, ifname, network(name));
    let before = calls(&pod, &plexus);
    // The interface of the sandbox's ADD counts as well.
    let result = request("ADD", "data0", "a").succeed(&plexus);
    assert_eq!(result["interfaces"][0]["name"], "data0");
    request("ADD", "data0", "b").fail(&plexus, 103, &["data0", "another network"]);
    request("CHECK", "data0", "b").fail(&plexus, 103, &["another network"]);
    // The roll-back of the refused ADD.
    request("DEL", "data0", "b").succeed(&plexus);
    for (verb, name) in [("ADD", "pods"), ("DEL", "pods"), ("ADD", "b")] {
        request(verb, "eth0", name).fail(&plexus, 103, &["default network"]);
    }
    pod.sandbox.ip("link add other0 type bridge");
    request("ADD", "other0", "b").fail(&plexus, 103, &["link in the sandbox"]);
    request("ADD", "lo", "b").fail(&plexus, 103, &["loopback"]);
    assert_eq!(calls(&pod, &plexus), before, "no plugin has run");
    request("DEL", "data0", "a").succeed(&plexus);
    assert_eq!(
        calls(&pod, &plexus).last().map(String::as_str),
        Some("DEL a data0")
    );
    wait_interfaces(&plexus, "web", &["eth0", "data0"]);
}

#[test]
fn plugins_get_the_interface_attributes() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    node.plugin("a", &attaches());
    node.plugin("second", &Script::new());
    let pod = attach(&plexus, "web", "");
    let attributes = json!({
        "ips": ["10.9.0.5/24"], "mac": "02:00:00:00:00:07", "cni-args": {"vlan": 7},
    });
    let list = json!({
        "cniVersion": "1.0.0", "name": "list",
        "plugins": [{"type": "a", "capabilities": {"ips": true}}, {"type": "second", "args": {"x": 1}}],
    });
    let add = Request::new("ADD", &pod, "data0", list).with_attributes(attributes);
    add.succeed(&plexus);
    let calls = node.calls_for(&pod.target.container);
    let [.., first, second] = calls.as_slice() else {
        panic!("two calls")
    };
    assert_eq!(
        first.config()["runtimeConfig"],
        json!({"ips": ["10.9.0.5/24"]})
    );
    assert!(
        first.env("CNI_ARGS").contains(";MAC=02:00:00:00:00:07"),
        "{}",
        first.env("CNI_ARGS")
    );
    assert_eq!(first.config()["args"], json!({"cni": {"vlan": 7}}));
    assert_eq!(second.config()["args"], json!({"x": 1, "cni": {"vlan": 7}}));
    let text = "no plugin of the network declares that capability";
    let warns = |event: &Value| event["message"].as_str().unwrap_or_default().contains(text);
    plexus.namespace.wait_for_event("web", warns);
}

#[test]
fn the_annotation_leaves_alone_what_a_program_has_attached() {
    rows!("K-092", "K-095");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = start(&node, &cluster);
    for name in ["a", "b"] {
        plexus.define(name);
    }
    plexus.namespace.definition("inner", &network("other"));
    node.plugin("other", &attaches());
    let pod = attach(&plexus, "web", "");
    let add = Request::new("ADD", &pod, "data0", network("other"));
    add.succeed(&plexus);
    // The element asks for what is attached already.
    annotate(&plexus, "web", "b,inner@data0");
    let entries = wait_interfaces(&plexus, "web", &["eth0", "data0", "net1"]);
    let namespace = plexus.namespace.name();
    assert_eq!(entries[1]["name"], format!("{namespace}/inner"));
    annotate(&plexus, "web", "");
    wait_interfaces(&plexus, "web", &["eth0", "data0"]);
    let expected = [
        "ADD main eth0",
        "ADD other data0",
        "ADD b net1",
        "DEL b net1",
    ];
    assert_eq!(calls(&pod, &plexus), expected);
}

#[test]
fn status_and_gc_run_the_plugins_of_the_network() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    node.plugin("a", &attaches().fails("STATUS", 50, "not now"));
    let pod = attach(&plexus, "web", "");
    let mut config = network("a");
    config["cniVersion"] = json!("1.1.0");
    Request::new("ADD", &pod, "data0", config.clone()).succeed(&plexus);
    let status = Request::new("STATUS", &pod, "", config.clone());
    status.fail(&plexus, 50, &["/delegate STATUS network \"a\"", "not now"]);
    node.plugin("a", &attaches());
    status.succeed(&plexus);

    let gc = |config: &Value| {
        let request = Request::new("GC", &pod, "", config.clone());
        request.with("CNI_PATH", &node.bin_dir().display().to_string())
    };
    gc(&config).fail(&plexus, 7, &["cni.dev/valid-attachments"]);
    config["cni.dev/valid-attachments"] = json!([{"containerID": "other", "ifname": "x0"}]);
    gc(&config).succeed(&plexus);
    let call = node.calls().pop().expect("a call");
    assert_eq!(call.summary().trim(), "GC a");
    let mut expected = vec![
        json!({"containerID": pod.target.container, "ifname": "data0"}),
        json!({"containerID": "other", "ifname": "x0"}),
    ];
    expected.sort_by_key(Value::to_string);
    let valid = call.config()["cni.dev/valid-attachments"]
        .as_array()
        .cloned();
    let mut valid = valid.expect("a list");
    valid.sort_by_key(Value::to_string);
    assert_eq!(valid, expected, "what is recorded and what is listed");
    assert_eq!(pod.sandbox.link_names(), ["lo", "eth0", "data0"]);
}
