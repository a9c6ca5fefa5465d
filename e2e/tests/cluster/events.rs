//! Events on the pod.

use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_e2e::apiserver::{Effect, Entry, Fault};
use plexus_e2e::{Pod, Script, Step, Target, node};
use serde_json::{Value, json};

use crate::bench::{Bench, MAIN, NODE, PATIENCE, definition};

/// Waits until so many events were written, created or changed, and gives the events that there are then.
fn wait_events(bench: &Bench<'_>, writes: usize) -> Vec<Value> {
    bench.server.wait(PATIENCE, |entries| {
        let done = |entry: &&Entry| entry.is("*", "events") && matches!(entry.code, Some(200..=299));
        entries.iter().filter(done).filter(|entry| entry.finished.is_some()).count() >= writes
    });
    bench.server.list("events")
}

/// The messages of the events with this reason.
fn messages(events: &[Value], reason: &str) -> Vec<String> {
    let ours = events.iter().filter(|event| event["reason"] == reason);
    let mut messages: Vec<_> = ours.map(|event| event["message"].as_str().expect("a text").to_owned()).collect();
    messages.sort();
    messages
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
    let node = node!();
    let bench = Bench::start(&node);
    for (name, address) in [(MAIN, "10.1.0.5/24"), ("a", "10.1.1.5/24"), ("b", "fd00::5/64")] {
        node.plugin(name, &Script::new().on("ADD", [Step::result(address, "")]));
        if name != MAIN {
            bench.server.apply(&definition(name, &json!({"cniVersion": "1.0.0", "type": name}).to_string()));
        }
    }
    let pod = bench.pod(Pod::new("p").with_networks("a,b"));
    bench.add(&bench.containerd, &pod).0.result();
    let events = wait_events(&bench, 3);
    assert_eq!(
        messages(&events, "AddedInterface"),
        [
            "Add eth0 [10.1.0.5/24] from pods",
            "Add net1 [10.1.1.5/24] from default/a",
            "Add net2 [fd00::5/64] from default/b",
        ]
    );
    assert_eq!(events.len(), 3);
    for event in &events {
        assert_eq!(event["type"], "Normal");
        assert_eq!(event["count"], 1);
        assert_eq!(event["source"], json!({"component": "plexus", "host": NODE}));
        let object = &event["involvedObject"];
        assert_eq!((&object["kind"], &object["name"], &object["uid"]), (&json!("Pod"), &json!("p"), &json!(pod.uid)));
    }
}

#[test]
fn what_is_wrong_with_a_pod_stands_on_it() {
    rows!("K-046", "K-094");
    let node = node!();
    let bench = Bench::configured(&node, &json!({"lookupWait": "50ms", "namespaceIsolation": true}));
    bench.define("a");
    bench.node.plugin("broken", &Script::new().fails("ADD", 120, "the switch does not answer"));
    bench.server.apply(&definition("broken", &json!({"cniVersion": "1.0.0", "type": "broken"}).to_string()));
    bench.server.apply(&definition("absent", &json!({"cniVersion": "1.0.0", "type": "no-such"}).to_string()));
    bench.server.apply(&definition("text", "{"));
    let cases = [
        ("none", "nothing", "NoNetworkFound", vec!["network-attachment-definition (nothing) in namespace (default)"]),
        (
            "invalid",
            r#"[{"name":"a"},{"name":"a","mac":"02:zz"}]"#,
            "InvalidNetworks",
            vec!["element 2", "mac", "02:zz"],
        ),
        ("taken", "a@x,a@x", "InvalidNetworks", vec!["x"]),
        ("elsewhere", "kube-system/a", "NoNetworkFound", vec!["kube-system"]),
        ("config", "text", "InvalidNetworkConfig", vec!["default/text"]),
        ("failing", "broken", "AttachFailed", vec!["default/broken", "net1", "the switch does not answer", "again"]),
        ("plugin", "absent", "AttachFailed", vec!["no-such"]),
    ];
    for (index, (name, networks, reason, parts)) in cases.into_iter().enumerate() {
        let pod = bench.pod(Pod::new(name).with_networks(networks));
        let (answer, _) = bench.add(&bench.containerd, &pod);
        assert!(!answer.ok(), "{name}: {answer:?}");
        let events = wait_events(&bench, index + 1);
        let ours: Vec<_> = events.into_iter().filter(|event| event["involvedObject"]["name"] == name).collect();
        let event = only(&ours, reason);
        assert_eq!((ours.len(), &event["type"]), (1, &json!("Warning")), "{name}");
        assert!(parts.iter().all(|part| message(event).contains(part)), "{name}: {}", message(event));
    }
}

#[test]
fn a_capability_that_is_missing_is_told_and_the_pod_runs() {
    rows!("K-029");
    let node = node!();
    let bench = Bench::start(&node);
    bench.define("a");
    let pod = bench.pod(Pod::new("p").with_networks(r#"[{"name":"a","mac":"02:00:00:00:00:01"}]"#));
    bench.add(&bench.containerd, &pod).0.result();
    let events = wait_events(&bench, 3);
    let event = only(&events, "CapabilityMissing");
    assert!(["default/a", "mac", "capabilities"].iter().all(|part| message(event).contains(part)), "{event}");
}

#[test]
fn what_happens_again_counts_up() {
    let node = node!();
    let bench = Bench::start(&node);
    bench.node.plugin(MAIN, &Script::new().fails("ADD", 120, "the switch does not answer"));
    let pod = bench.pod(Pod::new("p"));
    for writes in 1..=3 {
        bench.add(&bench.containerd, &pod).0.expect_code(120);
        let events = wait_events(&bench, writes);
        assert_eq!(only(&events, "AttachFailed")["count"], writes, "{events:#?}");
    }
    // Events live for an hour; what happens after that is told anew.
    let name = bench.server.list("events")[0]["metadata"]["name"].as_str().expect("a name").to_owned();
    assert!(bench.server.delete("events", "default", &name));
    bench.add(&bench.containerd, &pod).0.expect_code(120);
    assert_eq!(only(&wait_events(&bench, 4), "AttachFailed")["count"], 1);
}

#[test]
fn a_network_that_cannot_be_detached_is_told() {
    let node = node!();
    let bench = Bench::configured(&node, &json!({"orphanAfter": "1ms", "recoveryInterval": "1h"}));
    let pod = bench.pod(Pod::new("p"));
    let sandbox = node.sandbox("p");
    let target = Target::new(&sandbox, "eth0", &pod);
    bench.containerd.add(&target).result();
    node.plugin(MAIN, &Script::new().fails("DEL", 120, "the switch does not answer"));
    bench.containerd.del(&target).expect_code(120);
    bench.containerd.del(&target).expect_code(120);
    let events = wait_events(&bench, 3);
    let event = only(&events, "DetachFailed");
    assert_eq!(event["count"], 2);
    assert!(message(event).contains("the switch does not answer"), "{event}");
    bench.containerd.del(&target).expect_silence();
    let events = wait_events(&bench, 4);
    let event = only(&events, "DetachOrphaned");
    assert!(message(event).contains("plexusd ledger list"), "{event}");
}

#[test]
fn events_delay_nothing_and_outlast_a_short_outage() {
    let node = node!();
    let bench = Bench::configured(&node, &json!({"statusWait": "10s"}));
    let slow = bench.server.fault(Fault::new("create", "events", Effect::Delay(Duration::from_secs(6))));
    let pods = ["p0", "p1"].map(|name| bench.pod(Pod::new(name)));
    let start = Instant::now();
    bench.add(&bench.containerd, &pods[0]).0.result();
    assert!(start.elapsed() < Duration::from_secs(5), "neither the answer nor the status waits for events");
    let status = bench.server.get("pods", "default", "p0").expect("the pod");
    assert!(status["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].is_string());
    bench.server.clear(slow);
    bench.stop_server();
    bench.add(&bench.containerd, &pods[1]).0.result();
    bench.server.resume();
    bench.server.wait(PATIENCE, |entries| {
        let told = |name: &str| entries.iter().any(|one| one.is("create", "events") && one.body.contains(name));
        told("\"p0\"") && told("\"p1\"")
    });
}

#[test]
fn an_event_whose_answer_was_lost_stands_there_once() {
    let node = node!();
    let bench = Bench::start(&node);
    bench.server.fault(Fault::new("create", "events", Effect::LoseAnswer).times(1));
    bench.server.fault(Fault::new("create", "events", Effect::Error(500)).times(1));
    let pods = ["p0", "p1"].map(|name| bench.pod(Pod::new(name)));
    bench.add(&bench.containerd, &pods[0]).0.result();
    bench.add(&bench.containerd, &pods[1]).0.result();
    bench.server.wait(PATIENCE, |entries| {
        entries.iter().any(|one| one.is("create", "events") && one.code == Some(201) && one.body.contains("\"p1\""))
    });
    assert_eq!(bench.server.list("events").len(), 2);
}
