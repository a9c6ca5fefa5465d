//! What others do to the node's configuration is told on the node, and measured.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_apiserver::{ApiServer, PolicyRule, StreamItem};
use plexus_e2e::{Changes, Cluster, Node, Pod, node};
use serde_json::{Value, json};

use crate::bench::{Bench, PATIENCE, USER};
use crate::server;

const ACCESS: &str = include_str!("../../../deploy/node/access.yaml");
const OURS: &str = "00-plexus.conflist";
const NOT_FIRST: &str = r#"plexus_installation_problems{problem="config_not_first"}"#;
const CONFLICT: &str = r#"plexus_installation_problems{problem="config_conflict"}"#;
const RESTORATIONS: &str = "plexus_config_restorations_total";

/// A node whose runtime's configuration is published, by a daemon that may do what it may in a cluster.
struct Stage<'n> {
    bench: Bench<'n>,
    cluster: &'n Cluster,
    net_d: PathBuf,
}

impl<'n> Stage<'n> {
    fn set(node: &'n Node, cluster: &'n Cluster, server: &ApiServer) -> Self {
        let net_d = node.scratch().join("net.d");
        fs::create_dir(&net_d).expect("a directory");
        server.restrict(USER, rules());
        let keys = json!({"cniConfigDir": net_d, "metricsAddress": ""});
        Self {
            bench: Bench::configured(node, cluster, &keys),
            cluster,
            net_d,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.net_d.join(name)
    }

    /// Waits for an event that `kubectl describe node` would show, with this reason, that has happened so often.
    fn wait_event(&self, reason: &str, count: u64) -> Value {
        let name = &self.bench.name;
        // What it asks for: kubelets give the node's name for its UID.
        let [about, kind, uid] =
            ["name", "kind", "uid"].map(|field| format!("involvedObject.{field}%3D"));
        let path =
            format!("/api/v1/events?watch=true&fieldSelector={about}{name},{kind}Node,{uid}{name}");
        let mut lines = self
            .cluster
            .client()
            .stream(&path, &[])
            .expect("the API server answers");
        let end = Instant::now() + PATIENCE;
        loop {
            match lines.next(end.saturating_duration_since(Instant::now())) {
                StreamItem::Document(event)
                    if event["object"]["reason"] == reason && event["object"]["count"] == count =>
                {
                    return event["object"].clone();
                }
                StreamItem::Document(_) => {}
                other => panic!(
                    "no {reason} for the {count}. time, but {other:?}\n{}",
                    self.bench.daemon.log()
                ),
            }
        }
    }

    fn value(&self, series: &str) -> u64 {
        let scrape = self.bench.daemon.get("/metrics").expect("an answer").body;
        let value = scrape
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {series} in\n{scrape}"))
    }

    /// Waits until the daemon is not ready for this reason, which nothing tells but its answer.
    fn wait_not_ready(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let reply = self.bench.daemon.get("/readyz").expect("an answer");
            if reply.status == 500 && reply.body.contains(text) {
                return;
            }
            assert!(Instant::now() < end, "{reply:?}");
            std::thread::yield_now();
        }
    }

    /// Takes our file away, as often as it comes back.
    fn fight(&self, times: usize) {
        let changes = Changes::watch(self.bench.node, &[&self.net_d]);
        for _ in 0..times {
            changes.until_none(|| {
                fs::rename(self.at(OURS), self.at(&format!("{OURS}.cilium_bak"))).err()
            });
        }
        changes.until_none(|| (!self.at(OURS).exists()).then_some("it is not put back"));
    }
}

/// What a daemon may do in a cluster.
fn rules() -> Vec<PolicyRule> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(ACCESS).expect("YAML");
    let role = documents
        .into_iter()
        .find(|document| document["kind"] == "ClusterRole")
        .expect("a role");
    serde_json::from_value(role["rules"].clone()).expect("rules")
}

fn message(event: &Value) -> &str {
    event["message"].as_str().expect("a text")
}

#[test]
fn a_file_before_ours_is_told_on_the_node_until_it_is_gone() {
    rows!("C-14");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut stage = Stage::set(&node, &cluster, server);
    assert_eq!((stage.value(NOT_FIRST), stage.value(RESTORATIONS)), (0, 0));
    for count in 1..=2 {
        fs::write(stage.at("00-aaa.conflist"), "{}").expect("a file");
        let event = stage.wait_event("CNIConfigNotFirst", count);
        assert_eq!(
            (&event["type"], &event["metadata"]["namespace"]),
            (&json!("Warning"), &json!("default"))
        );
        assert_eq!(
            event["source"],
            json!({"component": "plexus", "host": stage.bench.name})
        );
        assert!(
            ["00-aaa.conflist", OURS, "remove or rename it"]
                .iter()
                .all(|part| message(&event).contains(part))
        );
        assert_eq!(stage.value(NOT_FIRST), 1);
        assert_eq!(
            stage.bench.daemon.get("/readyz").expect("an answer").status,
            500
        );
        fs::remove_file(stage.at("00-aaa.conflist")).expect("the file");
        stage.bench.daemon.wait_ready();
        assert_eq!(stage.value(NOT_FIRST), 0);
    }
    assert_eq!(
        server.list("events").len(),
        1,
        "it counts up: {:#?}",
        server.list("events")
    );
    assert_eq!(
        stage.bench.count("*", "nodes"),
        0,
        "it has no right to read nodes"
    );
}

#[test]
fn a_quarrel_about_our_file_is_told_on_the_node_with_what_to_change() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let stage = Stage::set(&node, &cluster, server);
    stage.fight(4);
    assert_eq!(stage.value(CONFLICT), 0);
    assert_eq!(server.list("events").len(), 0);
    stage.fight(1);
    let event = stage.wait_event("CNIConfigConflict", 1);
    assert_eq!(event["type"], "Warning");
    let parts = [OURS, "Cilium keeps renaming", "cni.exclusive to false"];
    assert!(
        parts.iter().all(|part| message(&event).contains(part)),
        "{event}"
    );
    assert_eq!((stage.value(CONFLICT), stage.value(RESTORATIONS)), (1, 5));
    assert_eq!(
        stage.bench.daemon.get("/readyz").expect("an answer").status,
        200,
        "it is there each time"
    );
    stage.fight(1);
    stage.wait_event("CNIConfigConflict", 2);
    assert_eq!(stage.value(RESTORATIONS), 6);
    assert_eq!(
        server.list("events").len(),
        1,
        "it counts up: {:#?}",
        server.list("events")
    );
}

#[test]
fn nothing_waits_for_an_event_that_cannot_be_sent() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut stage = Stage::set(&node, &cluster, server);
    stage.bench.stop_server();
    let began = Instant::now();
    for name in ["00-aaa.conflist", "00-bbb.conflist"] {
        fs::write(stage.at(name), "{}").expect("a file");
        stage.wait_not_ready(&format!("{name} sorts before"));
        assert_eq!(stage.value(NOT_FIRST), 1);
        fs::remove_file(stage.at(name)).expect("the file");
        stage.bench.daemon.wait_ready();
    }
    stage.fight(1);
    let pod = stage.bench.unknown_pod(Pod::new("during"));
    stage.bench.add(&stage.bench.containerd, &pod).0.result();
    // A request that is not answered is given up after 10 s.
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    server.resume();
    let event = stage.wait_event("CNIConfigNotFirst", 1);
    assert!(message(&event).contains("00-aaa.conflist"), "{event}");
    // With the node's own, the events of what came after it do not get lost.
    stage
        .bench
        .namespace
        .wait_for_event("during", |event| event["reason"] == "AddedInterface");
}
