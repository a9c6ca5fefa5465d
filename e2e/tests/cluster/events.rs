//! Events on the pod.

use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_apiserver::{ApiServer, AuditEntry, Effect, Fault};
use plexus_e2e::{Cluster, Pod, Script, Step, Target, node};
use serde_json::{Value, json};

use crate::bench::{Bench, MAIN, PATIENCE, USER};
use crate::server;

/// Waits until plexusd has written so many times, an event or a change of one, and gives the events that there are then.
fn wait_events(bench: &Bench<'_>, server: &ApiServer, writes: usize) -> Vec<Value> {
    server.wait(PATIENCE, |entries| {
        let done = |entry: &&AuditEntry| {
            entry.matches("*", "events") && matches!(entry.code, Some(200..=299))
        };
        let ours = entries
            .iter()
            .filter(|entry| entry.user == USER && entry.finished.is_some());
        ours.filter(done).count() >= writes
    });
    let mut events = server.list("events");
    events.retain(|event| event["metadata"]["namespace"] == bench.namespace.name());
    events
}

/// The only event with this reason. Panics with what there is instead.
fn only<'a>(events: &'a [Value], reason: &str) -> &'a Value {
    let mut ours = events.iter().filter(|event| event["reason"] == reason);
    match (ours.next(), ours.next()) {
        (Some(event), None) => event,
        _ => panic!("there should be one {reason}: {events:#?}"),
    }
}

fn message(event: &Value) -> &str {
    event["message"].as_str().expect("a text")
}

#[test]
fn each_attachment_is_told_as_multus_words_it() {
    rows!("K-094");
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::start(&node, &cluster);
    for (name, address) in [
        (MAIN, "10.1.0.5/24"),
        ("a", "10.1.1.5/24"),
        ("b", "fd00::5/64"),
    ] {
        if name != MAIN {
            bench.define(name);
        }
        node.plugin(name, &Script::new().on("ADD", [Step::result(address, "")]));
    }
    let pod = bench.pod(&Pod::new("p").with_networks("a,b"));
    bench.add(&bench.containerd, &pod).0.result();
    for text in [
        "Add eth0 [10.1.0.5/24] from pods".to_owned(),
        format!("Add net1 [10.1.1.5/24] from {}/a", pod.namespace),
        format!("Add net2 [fd00::5/64] from {}/b", pod.namespace),
    ] {
        let event = bench
            .namespace
            .wait_for_event("p", |event| event["message"] == text);
        assert_eq!(
            (&event["type"], &event["reason"]),
            (&json!("Normal"), &json!("AddedInterface"))
        );
        assert_eq!(event["count"], 1);
        assert_eq!(
            event["source"],
            json!({"component": "plexus", "host": bench.name})
        );
        let object = &event["involvedObject"];
        assert_eq!(
            (&object["kind"], &object["name"], &object["uid"]),
            (&json!("Pod"), &json!("p"), &json!(pod.uid))
        );
    }
    assert_eq!(bench.namespace.events("p").len(), 3);
}

#[test]
fn what_is_wrong_with_a_pod_stands_on_it() {
    rows!("K-046", "K-094");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::configured(
        &node,
        &cluster,
        &json!({"lookupWait": "50ms", "namespaceIsolation": true}),
    );
    bench.define("a");
    bench.node.plugin(
        "broken",
        &Script::new().fails("ADD", 120, "the switch does not answer"),
    );
    bench
        .namespace
        .definition("broken", &json!({"cniVersion": "1.0.0", "type": "broken"}));
    bench
        .namespace
        .definition("absent", &json!({"cniVersion": "1.0.0", "type": "no-such"}));
    server.apply(&json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "text", "namespace": bench.namespace.name()}, "spec": {"config": "{"},
    }));
    let cases = [
        (
            "none",
            "nothing",
            "NoNetworkFound",
            vec!["/nothing", "no network-attachment-definition", "create it"],
        ),
        (
            "invalid",
            r#"[{"name":"a"},{"name":"a","mac":"02:zz"}]"#,
            "InvalidNetworks",
            vec!["element 2", "mac", "02:zz"],
        ),
        ("taken", "a@x,a@x", "InvalidNetworks", vec!["x"]),
        (
            "elsewhere",
            "kube-system/a",
            "NoNetworkFound",
            vec!["kube-system"],
        ),
        ("config", "text", "InvalidNetworkConfig", vec!["/text"]),
        (
            "failing",
            "broken",
            "AttachFailed",
            vec!["/broken", "net1", "the switch does not answer", "retries"],
        ),
        ("plugin", "absent", "AttachFailed", vec!["no-such"]),
    ];
    for (index, (name, networks, reason, parts)) in cases.into_iter().enumerate() {
        let pod = bench.pod(&Pod::new(name).with_networks(networks));
        let (answer, _) = bench.add(&bench.containerd, &pod);
        assert!(!answer.ok(), "{name}: {answer:?}");
        let events = wait_events(&bench, server, index + 1);
        let ours: Vec<_> = events
            .into_iter()
            .filter(|event| event["involvedObject"]["name"] == name)
            .collect();
        let event = only(&ours, reason);
        assert_eq!(
            (ours.len(), &event["type"]),
            (1, &json!("Warning")),
            "{name}"
        );
        assert!(
            parts.iter().all(|part| message(event).contains(part)),
            "{name}: {}",
            message(event)
        );
    }
}

#[test]
fn a_capability_that_is_missing_is_told_and_the_pod_runs() {
    rows!("K-029");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    bench.define("a");
    let pod =
        bench.pod(&Pod::new("p").with_networks(r#"[{"name":"a","mac":"02:00:00:00:00:01"}]"#));
    bench.add(&bench.containerd, &pod).0.result();
    let events = wait_events(&bench, server, 3);
    let event = only(&events, "CapabilityMissing");
    assert!(
        ["/a", "mac", "capabilities"]
            .iter()
            .all(|part| message(event).contains(part)),
        "{event}"
    );
}

#[test]
fn what_happens_again_counts_up() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    bench.node.plugin(
        MAIN,
        &Script::new().fails("ADD", 120, "the switch does not answer"),
    );
    let pod = bench.pod(&Pod::new("p"));
    for writes in 1..=3 {
        bench.add(&bench.containerd, &pod).0.expect_code(120);
        let events = wait_events(&bench, server, writes);
        assert_eq!(
            only(&events, "AttachFailed")["count"],
            writes,
            "{events:#?}"
        );
    }
    // Events live for an hour; what happens after that is told anew.
    let name = wait_events(&bench, server, 3)[0]["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert!(server.delete("events", bench.namespace.name(), &name));
    bench.add(&bench.containerd, &pod).0.expect_code(120);
    assert_eq!(
        only(&wait_events(&bench, server, 4), "AttachFailed")["count"],
        1
    );
}

#[test]
fn a_network_that_cannot_be_detached_is_told() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::configured(
        &node,
        &cluster,
        &json!({"orphanAfter": "1ms", "recoveryInterval": "1h"}),
    );
    let pod = bench.pod(&Pod::new("p"));
    let sandbox = node.sandbox("p");
    let target = Target::new(&sandbox, "eth0", &pod);
    bench.containerd.add(&target).result();
    node.plugin(
        MAIN,
        &Script::new().fails("DEL", 120, "the switch does not answer"),
    );
    bench.containerd.del(&target).expect_code(120);
    bench.containerd.del(&target).expect_code(120);
    let events = wait_events(&bench, server, 3);
    let event = only(&events, "DetachFailed");
    assert_eq!(event["count"], 2);
    assert!(
        message(event).contains("the switch does not answer"),
        "{event}"
    );
    bench.containerd.del(&target).expect_silence();
    let events = wait_events(&bench, server, 4);
    let event = only(&events, "DetachOrphaned");
    assert!(message(event).contains("plexusd ledger list"), "{event}");
}

#[test]
fn events_delay_nothing_and_outlast_a_short_outage() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::configured(&node, &cluster, &json!({"statusWait": "10s"}));
    let slow = server
        .fault(Fault::new("create", "events", Effect::Delay(Duration::from_secs(6))).of_user(USER));
    let pods = ["p0", "p1"].map(|name| bench.pod(&Pod::new(name)));
    let start = Instant::now();
    bench.add(&bench.containerd, &pods[0]).0.result();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "neither the answer nor the status waits for events"
    );
    let status = bench.namespace.get_pod("p0").expect("the pod");
    assert!(status["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].is_string());
    server.clear_fault(slow);
    bench.stop_server();
    bench.add(&bench.containerd, &pods[1]).0.result();
    server.resume();
    server.wait(PATIENCE, |entries| {
        let told = |name: &str| {
            entries
                .iter()
                .any(|one| one.matches("create", "events") && one.body.contains(name))
        };
        told("\"p0\"") && told("\"p1\"")
    });
}

#[test]
fn an_event_whose_answer_was_lost_stands_there_once() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    server.fault(
        Fault::new("create", "events", Effect::LoseResponse)
            .of_user(USER)
            .times(1),
    );
    server.fault(
        Fault::new("create", "events", Effect::Error(500))
            .of_user(USER)
            .times(1),
    );
    let pods = ["p0", "p1"].map(|name| bench.pod(&Pod::new(name)));
    bench.add(&bench.containerd, &pods[0]).0.result();
    bench.add(&bench.containerd, &pods[1]).0.result();
    server.wait(PATIENCE, |entries| {
        entries.iter().any(|one| {
            one.matches("create", "events") && one.code == Some(201) && one.body.contains("\"p1\"")
        })
    });
    assert_eq!(wait_events(&bench, server, 1).len(), 2);
}
