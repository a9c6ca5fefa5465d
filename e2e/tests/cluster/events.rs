//! Events about pods.

use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_apiserver::{ApiServer, AuditEntry, Effect, Fault};
use plexus_e2e::kubelet::{self, Container, Device};
use plexus_e2e::plexus::MAIN;
use plexus_e2e::plexus_in_cluster::{TIMEOUT, USER};
use plexus_e2e::{Cluster, PlexusInCluster, Pod, Script, Step, attaches, metric, node, server};
use serde_json::{Value, json};

use crate::message;

const VF: &str = "example.com/vf";

/// Waits until plexusd has created or patched events this many times, and returns the events.
fn wait_events(plexus: &PlexusInCluster<'_>, server: &ApiServer, writes: usize) -> Vec<Value> {
    server.wait(TIMEOUT, |entries| {
        let done = |entry: &&AuditEntry| {
            entry.matches("*", "events") && matches!(entry.code, Some(200..=299))
        };
        let ours = entries
            .iter()
            .filter(|entry| entry.user == USER && entry.finished.is_some());
        ours.filter(done).count() >= writes
    });
    let mut events = server.list("events");
    events.retain(|event| event["metadata"]["namespace"] == plexus.namespace.name());
    events
}

/// The only event with this reason.
fn only<'a>(events: &'a [Value], reason: &str) -> &'a Value {
    let mut ours = events.iter().filter(|event| event["reason"] == reason);
    match (ours.next(), ours.next()) {
        (Some(event), None) => event,
        _ => panic!("expected one {reason}: {events:#?}"),
    }
}

#[test]
fn each_attachment_emits_the_same_event_as_multus() {
    rows!("K-094");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    for (name, address) in [
        (MAIN, "10.1.0.5/24"),
        ("a", "10.1.1.5/24"),
        ("b", "fd00::5/64"),
    ] {
        if name != MAIN {
            plexus.define(name);
        }
        node.plugin(name, &Script::new().on("ADD", [Step::result(address, "")]));
    }
    let pod = plexus.pod(&Pod::new("p").with_networks("a,b"));
    plexus.add(&plexus.runtime, &pod).0.result();
    for text in [
        "Add eth0 [10.1.0.5/24] from pods".to_owned(),
        format!("Add net1 [10.1.1.5/24] from {}/a", pod.namespace),
        format!("Add net2 [fd00::5/64] from {}/b", pod.namespace),
    ] {
        let event = plexus
            .namespace
            .wait_for_event("p", |event| event["message"] == text);
        assert_eq!(
            (&event["type"], &event["reason"]),
            (&json!("Normal"), &json!("AddedInterface"))
        );
        assert_eq!(event["count"], 1);
        assert_eq!(
            event["source"],
            json!({"component": "plexus", "host": plexus.node_name})
        );
        let object = &event["involvedObject"];
        assert_eq!(
            (&object["kind"], &object["name"], &object["uid"]),
            (&json!("Pod"), &json!("p"), &json!(pod.uid))
        );
    }
    assert_eq!(plexus.namespace.events("p").len(), 3);
}

#[test]
fn errors_of_a_pod_emit_warnings() {
    rows!("K-046", "K-094");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start_with(
        &node,
        &cluster,
        json!({"lookupWait": "50ms", "namespaceIsolation": true}),
    );
    plexus.define("a");
    plexus.node.plugin(
        "broken",
        &Script::new().fails("ADD", 120, "the switch does not answer"),
    );
    plexus
        .namespace
        .definition("broken", &json!({"cniVersion": "1.0.0", "type": "broken"}));
    plexus
        .namespace
        .definition("absent", &json!({"cniVersion": "1.0.0", "type": "no-such"}));
    server.apply(&json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "text", "namespace": plexus.namespace.name()}, "spec": {"config": "{"},
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
    for (name, networks, reason, parts) in cases {
        let pod = plexus.pod(&Pod::new(name).with_networks(networks));
        let (output, _) = plexus.add(&plexus.runtime, &pod);
        assert!(!output.ok(), "{name}: {output:?}");
        let has_reason = |event: &Value| event["reason"] == reason;
        plexus.namespace.wait_for_event(name, has_reason);
        let events = server.list("events").into_iter();
        let ours: Vec<_> = events
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

/// Writes a definition with this text as its configuration.
fn write_definition(plexus: &PlexusInCluster<'_>, server: &ApiServer, name: &str, config: &str) {
    let namespace = plexus.namespace.name();
    server.apply(&json!({
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": namespace}, "spec": {"config": config},
    }));
}

/// The numbers of unusable definitions: no JSON, and an unsupported version.
fn unusable(plexus: &PlexusInCluster<'_>) -> [usize; 2] {
    let metrics = plexus.daemon.metrics();
    ["not_json", "unsupported_version"].map(|reason| {
        let series = format!("plexus_definitions_unusable{{reason=\"{reason}\"}}");
        metric(&metrics, &series)
    })
}

#[test]
fn an_unusable_definition_is_counted_and_all_nodes_that_need_it_share_one_event() {
    let (node, other_node, cluster) = (node!(), node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    let other = PlexusInCluster::start(&other_node, &cluster);
    let version = r#"{"cniVersion":"9.9.9","type":"x"}"#;
    write_definition(&plexus, server, "unneeded", version);
    write_definition(&plexus, server, "text", "{");
    plexus.pod(&Pod::new("a").with_networks("text"));
    plexus
        .namespace
        .wait_for_event("text", |event| event["count"] == 1);
    assert_eq!(unusable(&plexus), [1, 1]);
    let networks = format!("{}/text", plexus.namespace.name());
    other.pod(&Pod::new("b").with_networks(networks));
    server.wait(TIMEOUT, |entries| {
        let mut entries = entries.iter().filter(|entry| entry.code == Some(409));
        entries.any(|entry| entry.matches("create", "events"))
    });
    assert_eq!(unusable(&other), [1, 1]);
    let mut events = server.list("events");
    events.retain(|event| event["involvedObject"]["kind"] == "NetworkAttachmentDefinition");
    let [event] = events.as_slice() else {
        panic!("{events:#?}")
    };
    assert_eq!(
        (&event["reason"], &event["type"]),
        (&json!("InvalidNetworkConfig"), &json!("Warning"))
    );
    assert!(
        message(event).ends_with("; correct spec.config"),
        "{event:#}"
    );
    let uid = event["involvedObject"]["uid"].as_str();
    assert!(uid.is_some_and(|uid| !uid.is_empty()), "{event:#}");
    // The event on a later definition shows that the correction of the first one has arrived.
    write_definition(&plexus, server, "text", r#"{"type":"x"}"#);
    write_definition(&plexus, server, "third", version);
    plexus.pod(&Pod::new("c").with_networks("third"));
    plexus
        .namespace
        .wait_for_event("third", |event| event["count"] == 1);
    assert_eq!(unusable(&plexus), [0, 2]);
}

#[test]
fn missing_devices_and_an_ignored_device_emit_warnings() {
    rows!("D-035", "D-036");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    for (name, resource) in [("vf", VF), ("same", VF)] {
        plexus.node.plugin(name, &attaches());
        let config = json!({"cniVersion": "1.0.0", "type": name}).to_string();
        let mut definition = plexus.definition(name, &json!(config));
        definition["metadata"]["annotations"] =
            json!({"k8s.v1.cni.cncf.io/resourceName": resource});
        server.apply(&definition);
    }
    let namespace = plexus.namespace.name();
    let named = r#"[{"name": "vf", "deviceID": "0000:04:00.1"}]"#;
    let cases = [
        (
            "unknown",
            "vf",
            "DeviceMissing",
            vec!["/vf", VF, "kubeletDir", "retries"],
        ),
        (
            "few",
            "vf,same",
            "DeviceMissing",
            vec!["/same", VF, "need 2", "have 1", "request 2"],
        ),
        (
            "ignored",
            named,
            "DeviceIdIgnored",
            vec!["/vf", "0000:04:00.1", "0000:03:02.0"],
        ),
    ];
    let mut kubelet = None;
    for (index, (name, networks, reason, parts)) in cases.into_iter().enumerate() {
        let pod = plexus.pod(&Pod::new(name).with_networks(networks));
        let (output, _) = plexus.add(&plexus.runtime, &pod);
        assert_eq!(output.ok(), name == "ignored", "{output:?}");
        let events = wait_events(&plexus, server, index + 1);
        let ours: Vec<_> = events
            .into_iter()
            .filter(|event| event["involvedObject"]["name"] == name)
            .collect();
        let event = only(&ours, reason);
        assert_eq!(event["type"], "Warning");
        for part in parts {
            assert!(message(event).contains(part), "{part}: {}", message(event));
        }
        // The first pod starts before the kubelet.
        let kubelet = kubelet.get_or_insert_with(|| node.kubelet());
        for pod in ["few", "ignored"] {
            let container = Container::new("c").device(Device::new(VF, "0000:03:02.0"));
            kubelet.run(kubelet::Pod::new(namespace, pod).with(container));
        }
    }
}

#[test]
fn a_missing_capability_emits_a_warning_and_the_pod_starts() {
    rows!("K-029");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    let pod =
        plexus.pod(&Pod::new("p").with_networks(r#"[{"name":"a","mac":"02:00:00:00:00:01"}]"#));
    plexus.add(&plexus.runtime, &pod).0.result();
    let events = wait_events(&plexus, server, 3);
    let event = only(&events, "CapabilityMissing");
    assert!(
        ["/a", "mac", "capabilities"]
            .iter()
            .all(|part| message(event).contains(part)),
        "{event}"
    );
}

#[test]
fn a_repeated_event_increases_its_count() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.node.plugin(
        MAIN,
        &Script::new().fails("ADD", 120, "the switch does not answer"),
    );
    let pod = plexus.pod(&Pod::new("p"));
    for writes in 1..=3 {
        plexus.add(&plexus.runtime, &pod).0.expect_code(120);
        let events = wait_events(&plexus, server, writes);
        assert_eq!(
            only(&events, "AttachFailed")["count"],
            writes,
            "{events:#?}"
        );
    }
    // The API server deletes events after an hour. A later failure creates a new event.
    let name = wait_events(&plexus, server, 3)[0]["metadata"]["name"]
        .as_str()
        .expect("a name")
        .to_owned();
    assert!(server.delete("events", plexus.namespace.name(), &name));
    plexus.add(&plexus.runtime, &pod).0.expect_code(120);
    assert_eq!(
        only(&wait_events(&plexus, server, 4), "AttachFailed")["count"],
        1
    );
}

#[test]
fn a_failed_detach_emits_a_warning() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start_with(
        &node,
        &cluster,
        json!({"orphanAfter": "1ms", "recoveryInterval": "1h"}),
    );
    let pod = plexus.pod(&Pod::new("p"));
    let sandbox = node.sandbox("p");
    let target = sandbox.target(&pod);
    plexus.runtime.add(&target).result();
    node.plugin(
        MAIN,
        &Script::new().fails("DEL", 120, "the switch does not answer"),
    );
    plexus.runtime.del(&target).expect_code(120);
    plexus.runtime.del(&target).expect_code(120);
    let events = wait_events(&plexus, server, 3);
    let event = only(&events, "DetachFailed");
    assert_eq!(event["count"], 2);
    assert!(
        message(event).contains("the switch does not answer"),
        "{event}"
    );
    plexus.runtime.del(&target).expect_success();
    let events = wait_events(&plexus, server, 4);
    let event = only(&events, "DetachOrphaned");
    assert!(message(event).contains("plexusd ledger list"), "{event}");
}

#[test]
fn events_delay_no_call_and_survive_a_short_outage() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start_with(&node, &cluster, json!({"statusWait": "10s"}));
    let slow = server
        .fault(Fault::new("create", "events", Effect::Delay(Duration::from_secs(6))).of_user(USER));
    let pods = ["p0", "p1"].map(|name| plexus.pod(&Pod::new(name)));
    let start = Instant::now();
    plexus.add(&plexus.runtime, &pods[0]).0.result();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "neither the result nor the status waits for events"
    );
    let status = plexus.namespace.get_pod("p0").expect("the pod");
    assert!(status["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"].is_string());
    server.clear_fault(slow);
    plexus.stop_server();
    plexus.add(&plexus.runtime, &pods[1]).0.result();
    server.resume();
    server.wait(TIMEOUT, |entries| {
        let is_created = |name: &str| {
            entries
                .iter()
                .any(|one| one.matches("create", "events") && one.body.contains(name))
        };
        is_created("\"p0\"") && is_created("\"p1\"")
    });
}

#[test]
fn an_event_whose_response_was_lost_is_not_duplicated() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
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
    let pods = ["p0", "p1"].map(|name| plexus.pod(&Pod::new(name)));
    plexus.add(&plexus.runtime, &pods[0]).0.result();
    plexus.add(&plexus.runtime, &pods[1]).0.result();
    server.wait(TIMEOUT, |entries| {
        entries.iter().any(|one| {
            one.matches("create", "events") && one.code == Some(201) && one.body.contains("\"p1\"")
        })
    });
    assert_eq!(wait_events(&plexus, server, 1).len(), 2);
}
