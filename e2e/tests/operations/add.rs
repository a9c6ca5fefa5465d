//! ADD: the order of plugins, their environment, and the result.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use plexus_api::rows;
use plexus_e2e::{Plexus, PluginCall, Pod, Script, Step, attaches, node};
use serde_json::{Value, json};

/// Asserts that each call ended before the next one started.
#[track_caller]
fn assert_sequential(calls: &[PluginCall]) {
    for pair in calls.windows(2) {
        assert!(
            pair[0].end.is_some_and(|end| end <= pair[1].start),
            "{pair:?}"
        );
    }
}

#[test]
fn the_default_network_is_attached_first_and_its_result_is_returned() {
    rows!(
        "P-010", "P-083", "P-084", "K-021", "K-032", "K-060", "K-066", "K-073", "K-080", "K-081",
        "K-082"
    );
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.networks(&["a", "b", "c"]);
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").with_networks("a, b@data0 ,default/c");
    let output = plexus.runtime.add(&sandbox.interface("eth7", &pod));
    assert_eq!(
        output.result()["interfaces"],
        json!([{"name": "eth7", "sandbox": sandbox.path()}])
    );
    assert_eq!(
        plexus.calls(),
        ["ADD main eth7", "ADD a net1", "ADD b data0", "ADD c net3"]
    );
    assert_sequential(&node.calls());
    let status = plexus.network_status(&pod).expect("network-status");
    let field = |key: &str| -> Vec<_> {
        let entries = status.as_array().expect("a list").iter();
        entries.map(|entry| entry[key].clone()).collect()
    };
    assert_eq!(
        field("name"),
        ["pods", "default/a", "default/b", "default/c"]
    );
    assert_eq!(field("interface"), ["eth7", "net1", "data0", "net3"]);
    assert_eq!(
        field("default"),
        [json!(true), Value::Null, Value::Null, Value::Null]
    );
    assert_eq!(field("ips"), vec![json!(["10.1.2.3"]); 4]);
}

#[test]
fn plugins_get_the_arguments_of_the_runtime() {
    rows!("P-017", "P-021", "R-031", "R-105", "K-064", "K-065");
    let node = node!();
    let capabilities = json!({"portMappings": true, "cgroupPath": true, "unheardOf": true});
    let default = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "main", "capabilities": capabilities,
    });
    let keys = json!({"clusterNetwork": node.write_json("pods.conf", &default)});
    let plexus = Plexus::start_with(&node, keys);
    node.plugin("a", &attaches());
    plexus.manifests.definition(
        "a",
        &json!({"cniVersion": "1.0.0", "type": "a", "capabilities": capabilities}),
    );
    let runtime = plexus.runtime_with(json!({"capabilities": {
        "io.kubernetes.cri.pod-annotations": true, "portMappings": true, "cgroupPath": true,
        "unheardOf": true,
    }}));
    let ports = json!([{"HostPort": 80, "ContainerPort": 8080, "Protocol": "tcp", "HostIP": ""}]);
    let large = json!(12_345_678_901_234_567_890_u64);
    let sandbox = node.sandbox("pod");
    let target = sandbox
        .target(&Pod::new("p").with_networks("a"))
        .with_arg("FOO", "bar=1")
        .with_env("TRACEPARENT", Some("trace"))
        .with_env("CNI_NETNS_OVERRIDE", Some("1"))
        .with_capability("portMappings", ports.clone())
        .with_capability("cgroupPath", json!("/kubepods"))
        .with_capability("unheardOf", large.clone());
    runtime.add(&target).result();
    let calls = node.calls();
    assert_eq!(
        calls[0].config()["runtimeConfig"],
        json!({"portMappings": ports, "cgroupPath": "/kubepods", "unheardOf": large})
    );
    assert_eq!(
        calls[1].config().get("runtimeConfig"),
        None,
        "capability arguments are for the default network"
    );
    let expected = BTreeSet::from([
        "IgnoreUnknown=1".to_owned(),
        "K8S_POD_NAMESPACE=default".into(),
        "K8S_POD_NAME=p".into(),
        format!("K8S_POD_INFRA_CONTAINER_ID={}", sandbox.id()),
        "K8S_POD_UID=uid-of-p".into(),
        "FOO=bar=1".into(),
    ]);
    for call in &calls {
        let args: BTreeSet<_> = call.env("CNI_ARGS").split(';').map(str::to_owned).collect();
        assert_eq!(args, expected, "{}", call.summary());
        assert_eq!(
            (call.env("TRACEPARENT"), call.env("CNI_NETNS_OVERRIDE")),
            ("trace", "1")
        );
    }
}

#[test]
fn plugins_run_on_the_node_without_state_of_the_daemon() {
    rows!("R-043", "R-051");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (_, target) = plexus.attached("p", "a");
    plexus.runtime.del(&target).expect_success();
    let netns = node.run(|| fs::metadata("/proc/thread-self/ns/net"));
    let netns = netns.expect("the node's network namespace").ino();
    for call in node.calls() {
        let name = call.summary();
        assert_eq!(call.netns, netns, "{name}");
        assert_eq!(call.leaked_fds(), BTreeMap::new(), "{name}");
        assert_eq!((&*call.cwd, &*call.umask), ("/", "0022"), "{name}");
        let blocked = call.blocked_signals.trim_start_matches('0');
        assert_eq!(blocked, "", "{name}");
    }
}

#[test]
fn the_plan_is_recorded_before_the_first_plugin_runs() {
    rows!("R-085");
    let node = node!();
    let plexus = Plexus::start(&node);
    let gate = node.gate("main");
    node.plugin("main", &Script::new().on("ADD", [gate.step()]));
    plexus.network("a", &Script::new());
    let (_, target) = plexus.sandbox("p", "a@data0");
    let running = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    let record = plexus.record();
    let plan: Value = serde_json::from_str(record.lines().next().expect("a line")).expect("JSON");
    let attachments = plan["planned"]["attachments"].as_array().expect("a list");
    assert_eq!(attachments.len(), 2, "{record}");
    assert_eq!(
        (&attachments[1]["ifname"], &attachments[1]["network"]),
        (&json!("data0"), &json!("default/a")),
        "{record}"
    );
    held.release();
    running.wait().result();
}

#[test]
fn a_second_add_of_the_same_interface_fails_and_changes_nothing() {
    rows!("P-081");
    let node = node!();
    let plexus = Plexus::start(&node);
    let gate = node.gate("main");
    let script = attaches().on("ADD", [Step::link(), gate.step()]);
    node.plugin("main", &script);
    let (sandbox, target) = plexus.sandbox("p", "");
    let first = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    let second = || plexus.runtime.start("ADD", &target).wait();
    second().expect_error(107, &["default/p", "eth0"]);
    held.release();
    first.wait().result();
    second().expect_error(107, &["default/p", "eth0"]);
    assert_eq!(plexus.calls(), ["ADD main eth0"]);
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn calls_for_different_containers_run_in_parallel_and_for_one_container_in_order() {
    rows!("P-116", "R-068");
    let node = node!();
    let plexus = Plexus::start(&node);
    let gate = node.gate("a");
    plexus.network("a", &attaches().on("ADD", [gate.step(), Step::link()]));
    let (sandbox, slow) = plexus.sandbox("slow", "a");
    let adding = plexus.runtime.start("ADD", &slow);
    let held = gate.wait();
    let deleting = plexus.runtime.start("DEL", &slow);
    // By the end of another pod the DEL has arrived at the daemon.
    let other = node.sandbox("quick");
    let quick = Pod::new("quick");
    plexus.runtime.run_pod(&other, &quick).result();
    plexus.runtime.stop_pod(&other, &quick).expect_success();
    held.release();
    adding.wait();
    deleting.wait().expect_success();
    assert_eq!(
        plexus.calls_for(&slow),
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    assert_sequential(&node.calls_for(sandbox.id()));
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn interfaces_of_one_container_are_attached_one_after_the_other() {
    rows!("C-21", "R-068");
    let node = node!();
    let plexus = Plexus::start(&node);
    let gate = node.gate("a");
    plexus.network("a", &attaches().on("ADD", [gate.step(), Step::link()]));
    let sandbox = node.sandbox("pod");
    let one = sandbox.target(&Pod::new("p").with_networks("a@x0"));
    let two = sandbox.interface("eth1", &Pod::new("p"));
    let first = plexus.runtime.start("ADD", &one);
    let held = gate.wait();
    let second = plexus.runtime.start("ADD", &two);
    // By the end of another pod the second ADD has arrived at the daemon.
    let other = node.sandbox("quick");
    plexus.runtime.run_pod(&other, &Pod::new("quick")).result();
    held.release();
    first.wait().result();
    second.wait().result();
    assert_eq!(
        plexus.calls_for(&one),
        ["ADD main eth0", "ADD a x0", "ADD main eth1"]
    );
    assert_sequential(&node.calls_for(sandbox.id()));
    assert_eq!(plexus.records().len(), 3);
    for target in [&one, &two] {
        plexus.runtime.check(target).expect_success();
        plexus.runtime.del(target).expect_success();
    }
}

#[test]
fn plexus_must_be_the_first_plugin_of_its_list() {
    rows!("P-082");
    let node = node!();
    let plexus = Plexus::start(&node);
    let previous = json!({"cniVersion": "1.1.0", "interfaces": [{"name": "x"}]});
    let runtime = plexus.runtime_with(json!({"prevResult": previous}));
    let (_, target) = plexus.sandbox("p", "");
    runtime.add(&target).expect_error(7, &["prevResult"]);
    assert_eq!(plexus.calls(), [""; 0]);
}

#[test]
fn output_of_plugins_on_stderr_is_logged() {
    rows!("P-044", "P-045", "R-047");
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"logLevel": "debug"}));
    let stderr = Step::Stderr("first line\nerror: second line".into());
    plexus.network("a", &attaches().on("ADD", [stderr, Step::link()]));
    let (_, target) = plexus.sandbox("p", "a");
    plexus.runtime.add(&target).result();
    plexus.runtime.check(&target).expect_success();
    plexus.runtime.del(&target).expect_success();
    let log = plexus.daemon.log();
    let line = log.lines().find(|line| line.contains("second line"));
    let line = line.expect("a line of the log");
    assert!(
        line.contains("ADD") && line.contains('a') && !line.contains("first"),
        "{line}"
    );
}

#[test]
fn annotations_may_be_large() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let sandbox = node.sandbox("pod");
    // Go's encoder writes `<` as six bytes.
    let pod = Pod::new("p").annotated("note", "<".repeat(256 << 10));
    let target = sandbox.target(&pod);
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_success();
    plexus.assert_nothing_left(&sandbox);
}
