//! ADD: what is attached, in which order, and what the runtime and the pod are told.

use std::collections::{BTreeMap, BTreeSet};

use plexus_api::rows;
use plexus_e2e::{Call, Pod, Script, Step, Target, node};
use serde_json::{Value, json};

use crate::plexus::{Plexus, attaches, runtime, target, write};

/// That each call has ended before the next began.
#[track_caller]
fn assert_in_turn(calls: &[Call]) {
    for pair in calls.windows(2) {
        assert!(
            pair[0].end.is_some_and(|end| end <= pair[1].start),
            "{pair:?}"
        );
    }
}

#[test]
fn the_default_network_comes_first_and_its_result_is_the_answer() {
    rows!(
        "P-010", "P-083", "P-084", "K-021", "K-032", "K-060", "K-066", "K-073", "K-080", "K-081",
        "K-082"
    );
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.networks(&["a", "b", "c"]);
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").with_networks("a, b@data0 ,default/c");
    let answer = plexus.runtime.add(&Target::new(&sandbox, "eth7", &pod));
    assert_eq!(
        answer.result()["interfaces"],
        json!([{"name": "eth7", "sandbox": sandbox.path()}])
    );
    assert_eq!(
        plexus.calls(),
        ["ADD main eth7", "ADD a net1", "ADD b data0", "ADD c net3"]
    );
    assert_in_turn(&node.calls());
    let status = plexus.status(&pod).expect("it was written");
    let shown = |key: &str| {
        status
            .as_array()
            .expect("a list")
            .iter()
            .map(|of| of[key].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shown("name"),
        ["pods", "default/a", "default/b", "default/c"]
    );
    assert_eq!(shown("interface"), ["eth7", "net1", "data0", "net3"]);
    assert_eq!(
        shown("default"),
        [json!(true), Value::Null, Value::Null, Value::Null]
    );
    assert_eq!(shown("ips"), vec![json!(["10.1.2.3"]); 4]);
}

#[test]
fn plugins_get_what_the_runtime_sent() {
    rows!("P-017", "P-021", "R-031", "R-105", "K-064", "K-065");
    let node = node!();
    let capabilities = json!({"portMappings": true, "cgroupPath": true, "unheardOf": true});
    let default = json!({"cniVersion": "1.0.0", "name": "pods", "type": "main", "capabilities": capabilities});
    let keys = json!({"clusterNetwork": write(&node, "pods.conf", &default)});
    let plexus = Plexus::configured(&node, keys);
    node.plugin("a", &attaches());
    plexus.manifests.definition(
        "a",
        &json!({"cniVersion": "1.0.0", "type": "a", "capabilities": capabilities}),
    );
    let runtime = runtime(
        &node,
        json!({"capabilities": {
            "io.kubernetes.cri.pod-annotations": true, "portMappings": true, "cgroupPath": true, "unheardOf": true,
        }}),
    );
    let ports = json!([{"HostPort": 80, "ContainerPort": 8080, "Protocol": "tcp", "HostIP": ""}]);
    let sandbox = node.sandbox("pod");
    let target = target(&sandbox, &Pod::new("p").with_networks("a"))
        .with_arg("FOO", "bar=1")
        .with_env("TRACEPARENT", Some("trace"))
        .with_env("CNI_NETNS_OVERRIDE", Some("1"))
        .with_capability("portMappings", ports.clone())
        .with_capability("cgroupPath", json!("/kubepods"))
        .with_capability("unheardOf", json!(12_345_678_901_234_567_890_u64));
    runtime.add(&target).result();
    let calls = node.calls();
    assert_eq!(
        calls[0].config()["runtimeConfig"],
        json!({"portMappings": ports, "cgroupPath": "/kubepods", "unheardOf": 12_345_678_901_234_567_890_u64})
    );
    assert_eq!(
        calls[1].config().get("runtimeConfig"),
        None,
        "they are for the default network"
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
fn plugins_run_on_the_node_and_inherit_nothing() {
    rows!("R-043", "R-051");
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (_, target) = plexus.attached("p", "a");
    plexus.runtime.del(&target).expect_silence();
    let own = node.run(|| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata("/proc/thread-self/ns/net")
            .expect("it is there")
            .ino()
    });
    for call in node.calls() {
        assert_eq!(call.netns, own, "{}", call.summary());
        assert_eq!(call.leaked_fds(), BTreeMap::new(), "{}", call.summary());
        assert_eq!(
            (call.cwd.as_str(), call.umask.as_str()),
            ("/", "0022"),
            "{}",
            call.summary()
        );
        assert_eq!(
            call.blocked_signals.trim_start_matches('0'),
            "",
            "{}",
            call.summary()
        );
    }
}

#[test]
fn the_plan_is_on_disk_before_the_first_plugin_runs() {
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
    let planned: Vec<_> = plan["planned"]["attachments"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(planned.len(), 2, "{record}");
    assert_eq!(
        (&planned[1]["ifname"], &planned[1]["network"]),
        (&json!("data0"), &json!("default/a")),
        "{record}"
    );
    held.release();
    running.wait().result();
}

#[test]
fn a_second_add_leaves_the_first_alone() {
    rows!("P-081");
    let node = node!();
    let plexus = Plexus::start(&node);
    let gate = node.gate("main");
    node.plugin(
        "main",
        &attaches().on("ADD", [Step::Link("bridge".into()), gate.step()]),
    );
    let (sandbox, target) = plexus.sandbox("p", "");
    let first = plexus.runtime.start("ADD", &target);
    let held = gate.wait();
    let second = || plexus.runtime.start("ADD", &target).wait();
    second().expect_error(107, &["default/p", "eth0"]);
    held.release();
    first.wait().result();
    second().expect_error(107, &["default/p", "eth0"]);
    assert_eq!(plexus.calls(), ["ADD main eth0"]);
    plexus.runtime.check(&target).expect_silence();
    plexus.runtime.del(&target).expect_silence();
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn pods_are_attached_in_parallel_and_calls_for_one_container_in_turn() {
    rows!("P-116", "R-068");
    let node = node!();
    let plexus = Plexus::start(&node);
    let gate = node.gate("a");
    plexus.network(
        "a",
        &attaches().on("ADD", [gate.step(), Step::Link("bridge".into())]),
    );
    let (sandbox, slow) = plexus.sandbox("slow", "a");
    let adding = plexus.runtime.start("ADD", &slow);
    let held = gate.wait();
    let deleting = plexus.runtime.start("DEL", &slow);
    // The whole life of another pod fits in between. By its end that DEL has long arrived.
    let other = node.sandbox("quick");
    plexus.runtime.run_pod(&other, &Pod::new("quick")).result();
    plexus
        .runtime
        .stop_pod(&other, &Pod::new("quick"))
        .expect_silence();
    held.release();
    adding.wait();
    deleting.wait().expect_silence();
    let mut calls = node.calls();
    calls.retain(|call| call.env("CNI_CONTAINERID") == sandbox.id());
    let summaries: Vec<_> = calls.iter().map(Call::summary).collect();
    assert_eq!(
        summaries,
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    assert_in_turn(&calls);
    plexus.assert_nothing_left(&sandbox);
}

#[test]
fn interfaces_of_one_container_are_attached_one_after_the_other() {
    rows!("C-21", "R-068");
    let node = node!();
    let plexus = Plexus::start(&node);
    let gate = node.gate("a");
    plexus.network(
        "a",
        &attaches().on("ADD", [gate.step(), Step::Link("bridge".into())]),
    );
    let sandbox = node.sandbox("pod");
    let one = Target::new(&sandbox, "eth0", &Pod::new("p").with_networks("a@x0"));
    let two = Target::new(&sandbox, "eth1", &Pod::new("p"));
    let first = plexus.runtime.start("ADD", &one);
    let held = gate.wait();
    let second = plexus.runtime.start("ADD", &two);
    // By the end of another pod the second ADD has arrived at the daemon.
    let other = node.sandbox("quick");
    plexus.runtime.run_pod(&other, &Pod::new("quick")).result();
    held.release();
    first.wait().result();
    second.wait().result();
    let mut calls = node.calls();
    calls.retain(|call| call.env("CNI_CONTAINERID") == sandbox.id());
    let summaries: Vec<_> = calls.iter().map(Call::summary).collect();
    assert_eq!(summaries, ["ADD main eth0", "ADD a x0", "ADD main eth1"]);
    assert_in_turn(&calls);
    assert_eq!(plexus.records().len(), 3);
    for target in [&one, &two] {
        plexus.runtime.check(target).expect_silence();
        plexus.runtime.del(target).expect_silence();
    }
}

#[test]
fn our_configuration_must_not_stand_behind_another_plugin() {
    rows!("P-082");
    let node = node!();
    let plexus = Plexus::start(&node);
    let runtime = runtime(
        &node,
        json!({"prevResult": {"cniVersion": "1.1.0", "interfaces": [{"name": "x"}]}}),
    );
    let (_, target) = plexus.sandbox("p", "");
    runtime.add(&target).expect_error(7, &["prevResult"]);
    assert_eq!(plexus.calls(), [""; 0]);
}

#[test]
fn a_manifest_pod_selects_networks_by_its_annotation() {
    rows!(
        "K-020", "K-021", "K-022", "K-024", "K-025", "K-027", "K-032", "K-048", "K-066"
    );
    let node = node!();
    let plexus = Plexus::start(&node);
    let runtime = runtime(&node, json!({"capabilities": null}));
    plexus.networks(&["a", "b"]);
    node.plugin("far", &attaches());
    plexus.manifests.definition_in(
        "ns",
        "a",
        Some(&json!({"cniVersion": "1.0.0", "type": "far"}).to_string()),
    );
    for (number, (annotation, expected)) in [
        ("", vec![]),
        ("[]", vec![]),
        ("a,b", vec!["a net1", "b net2"]),
        (" a , ns/a,b@x0 ", vec!["a net1", "far net2", "b x0"]),
        (
            r#"[{"name": "b"}, {"name": "a"}]"#,
            vec!["b net1", "a net2"],
        ),
        (
            r#"[{"name": "a", "namespace": "ns"}, {"name": "a", "namespace": ""}]"#,
            vec!["far net1", "a net2"],
        ),
        (
            r#"[{"name": "a", "interface": "data0", "zzz": 1, "org.x.y": {"z": 2}}]"#,
            vec!["a data0"],
        ),
        ("a,a", vec!["a net1", "a net2"]),
    ]
    .into_iter()
    .enumerate()
    {
        let pod = Pod::new(&format!("p{number}")).with_networks(annotation);
        plexus.manifests.pod(&pod);
        let sandbox = node.sandbox(&pod.name);
        node.forget_calls();
        let answer = runtime.add(&target(&sandbox, &pod));
        assert!(answer.ok(), "{annotation}: {answer:?}");
        let mut calls = vec!["ADD main eth0".to_owned()];
        calls.extend(expected.iter().map(|call| format!("ADD {call}")));
        assert_eq!(plexus.calls(), calls, "{annotation}");
        let status = plexus.status(&pod).expect("it was written");
        assert_eq!(
            status.as_array().map(Vec::len),
            Some(calls.len()),
            "{annotation}: {status}"
        );
    }
    let pod = Pod::new("none");
    plexus.manifests.pod(&pod);
    node.forget_calls();
    runtime.add(&target(&node.sandbox("none"), &pod)).result();
    assert_eq!(plexus.calls(), ["ADD main eth0"]);
}

#[test]
fn add_waits_for_a_pod_and_a_definition_that_are_not_known_yet() {
    rows!("P-042");
    let node = node!();
    let plexus = Plexus::start(&node);
    let runtime = runtime(&node, json!({"capabilities": null}));
    let sandbox = node.sandbox("pod");
    let pod = Pod::new("p").with_networks("late");
    let running = runtime.start("ADD", &target(&sandbox, &pod));
    plexus.manifests.pod(&pod);
    plexus.network("late", &attaches());
    running.wait().result();
    assert_eq!(plexus.calls(), ["ADD main eth0", "ADD late net1"]);
}

#[test]
fn logs_go_to_the_logs() {
    rows!("P-044", "P-045", "R-047");
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"logLevel": "debug"}));
    let noise = Step::Stderr("first line\nerror: second line".into());
    plexus.network(
        "a",
        &attaches().on("ADD", [noise, Step::Link("bridge".into())]),
    );
    let (_, target) = plexus.sandbox("p", "a");
    let answer = plexus.runtime.add(&target);
    answer.result();
    plexus.runtime.check(&target).expect_silence();
    plexus.runtime.del(&target).expect_silence();
    let log = plexus.daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("second line"))
        .expect("it is in the log");
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
    // In JSON as some write it, each `<` takes six bytes.
    let pod = Pod::new("p").annotated("note", "<".repeat(256 << 10));
    let target = target(&sandbox, &pod);
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_silence();
    plexus.assert_nothing_left(&sandbox);
}
