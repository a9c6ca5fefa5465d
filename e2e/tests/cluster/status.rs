//! network-status on the pod.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_apiserver::{ApiServer, AuditEntry, Effect, Fault};
use plexus_e2e::{Changes, Cluster, Daemon, Pod, Script, Step, Target, node};
use serde_json::{Value, json};

use crate::bench::{Bench, MAIN, PATIENCE, USER};
use crate::server;

const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
const SOURCE: &str = "kubernetes.io/config.source";
const MIRROR: &str = "kubernetes.io/config.mirror";
pub const LEDGER: &str = "/var/lib/plexus/ledger";

/// The text on the pod, as the API server has it.
fn text(bench: &Bench<'_>, pod: &Pod) -> Option<String> {
    let object = bench.namespace.get_pod(&pod.name)?;
    Some(
        object["metadata"]["annotations"][STATUS]
            .as_str()?
            .to_owned(),
    )
}

/// The same, read.
pub fn status(bench: &Bench<'_>, pod: &Pod) -> Option<Value> {
    text(bench, pod).map(|text| serde_json::from_str(&text).expect("JSON"))
}

fn is_patch(entry: &AuditEntry, pod: &Pod) -> bool {
    entry.user == USER && entry.matches("patch", "pods/status") && entry.path.name == pod.name
}

/// The writes of a pod's status that came.
pub fn patches(bench: &Bench<'_>, pod: &Pod) -> Vec<AuditEntry> {
    bench
        .requests()
        .into_iter()
        .filter(|entry| is_patch(entry, pod))
        .collect()
}

/// Waits until a write of the pod's status was answered with `code`.
pub fn wait_patch(server: &ApiServer, pod: &Pod, code: u16) {
    server.wait(PATIENCE, |entries| {
        let mut patches = entries.iter().filter(|entry| is_patch(entry, pod));
        patches.any(|patch| patch.code == Some(code) && patch.finished.is_some())
    });
}

/// Waits until the ledger knows so many statuses as written.
pub fn wait_recorded(bench: &Bench<'_>, count: usize) {
    let changes = Changes::watch(bench.node, &[Path::new(LEDGER)]);
    changes.until_none(|| {
        let records = bench.node.run(|| {
            let files = fs::read_dir(LEDGER).expect("the ledger").flatten();
            files
                .map(|file| fs::read_to_string(file.path()).unwrap_or_default())
                .collect::<Vec<_>>()
        });
        let written = records
            .iter()
            .filter(|record| record.contains("\"statusWritten\""))
            .count();
        (written != count).then_some(records)
    });
}

/// A default network that gives its pods this address.
pub fn default_with(bench: &Bench<'_>, address: &str, gateway: &str) {
    bench.node.plugin(
        MAIN,
        &Script::new().on("ADD", [Step::result(address, gateway)]),
    );
}

/// A daemon that starts while the API server is away serves from its snapshot.
fn with_snapshot(bench: &Bench<'_>) {
    bench.define("any");
    bench.wait_snapshot("any");
}

/// Befalls plexusd's writes of a status.
fn fault(effect: Effect) -> Fault {
    Fault::new("patch", "pods/status", effect).of_user(USER)
}

fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (call(), start.elapsed())
}

#[test]
fn the_status_of_a_pod_reads_as_with_multus() {
    rows!("K-080", "K-081", "K-082");
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::start(&node, &cluster);
    bench.define("a");
    bench.define("b");
    default_with(&bench, "10.1.0.5/24", "10.1.0.1");
    let pod = bench.pod(&Pod::new("p").with_networks("a,b@extra"));
    bench.add(&bench.containerd, &pod).0.result();
    let text = bench.namespace.wait_for_annotation("p", STATUS);
    assert!(
        text.starts_with(
            "[{\n    \"name\": \"pods\",\n    \"interface\": \"eth0\",\n    \"ips\": [\n"
        ),
        "{text}"
    );
    let entries: Vec<Value> = serde_json::from_str(&text).expect("a list");
    let named: Vec<_> = entries
        .iter()
        .map(|entry| (&entry["name"], &entry["interface"], &entry["default"]))
        .collect();
    let [a, b] = ["a", "b"].map(|name| json!(format!("{}/{name}", pod.namespace)));
    assert_eq!(
        named,
        [
            (&json!("pods"), &json!("eth0"), &json!(true)),
            (&a, &json!("net1"), &Value::Null),
            (&b, &json!("extra"), &Value::Null),
        ]
    );
    assert_eq!(
        (&entries[0]["ips"], &entries[0]["gateway"]),
        (&json!(["10.1.0.5"]), &json!(["10.1.0.1"]))
    );
}

#[test]
fn an_add_costs_one_write_and_no_read() {
    rows!("K-092", "K-096");
    let (node, cluster) = (node!(), Cluster::new());
    server!(cluster);
    let mut bench = Bench::start(&node, &cluster);
    bench.define("a");
    bench.wait_watches();
    let pod = bench.pod(&Pod::new("p").with_networks("a"));
    let before = bench.requests().len();
    bench.add(&bench.containerd, &pod).0.result();
    let entries = bench.requests().split_off(before);
    let summaries: Vec<_> = entries
        .iter()
        .map(AuditEntry::summary)
        .filter(|summary| !summary.ends_with(" events"))
        .collect();
    assert_eq!(summaries, ["patch pods/status"]);
    let body: Value = serde_json::from_str(&patches(&bench, &pod)[0].body).expect("JSON");
    let text = text(&bench, &pod).expect("it is there when ADD is answered");
    assert_eq!(
        body,
        json!({"metadata": {"uid": pod.uid, "annotations": {STATUS: text}}})
    );
    // What is known to be there is not written again.
    bench.daemon.restart();
    bench
        .add(&bench.containerd, &bench.pod(&Pod::new("other")))
        .0
        .result();
    assert_eq!(patches(&bench, &pod).len(), 1);
}

#[test]
fn a_pod_that_is_gone_or_replaced_gets_none() {
    rows!("K-092");
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::start(&node, &cluster);
    let current = bench.pod(&Pod::new("web-0"));
    let former = Pod {
        uid: "former".into(),
        ..current.clone()
    };
    let gone = bench.unknown_pod(Pod::new("gone"));
    for (index, (pod, code)) in [(&former, 422), (&gone, 404)].into_iter().enumerate() {
        bench.add(&bench.containerd, pod).0.result();
        wait_recorded(&bench, index + 1);
        if cluster.server().is_some() {
            let codes: Vec<_> = patches(&bench, pod)
                .iter()
                .map(|patch| patch.code)
                .collect();
            assert_eq!(codes, [Some(code)]);
        }
    }
    assert_eq!(status(&bench, &current), None);
}

#[test]
fn a_conflict_is_tried_again_at_once() {
    rows!("K-092");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    server.fault(fault(Effect::Error(409)).times(2));
    let pod = bench.pod(&Pod::new("p"));
    bench.add(&bench.containerd, &pod).0.result();
    assert!(
        status(&bench, &pod).is_some(),
        "it is there when ADD is answered"
    );
    assert_eq!(patches(&bench, &pod).len(), 3);
}

#[test]
fn what_fails_is_tried_again_until_it_lands() {
    rows!("K-092");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    for (index, effect) in [
        Effect::Error(500),
        Effect::Error(403),
        Effect::TooManyRequests(1),
        Effect::Disconnect,
        Effect::LoseResponse,
    ]
    .into_iter()
    .enumerate()
    {
        server.fault(fault(effect).times(2));
        let pod = bench.pod(&Pod::new(&format!("p{index}")));
        bench.add(&bench.containerd, &pod).0.result();
        wait_patch(server, &pod, 200);
        wait_recorded(&bench, index + 1);
        assert_eq!(patches(&bench, &pod).len(), 3, "{index}");
        assert!(status(&bench, &pod).is_some());
    }
}

#[test]
fn the_answer_waits_a_moment_and_not_at_all_behind_another() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let wait = Duration::from_secs(2);
    let bench = Bench::configured(&node, &cluster, &json!({"statusWait": "2s"}));
    let pods = ["p0", "p1", "p2"].map(|name| bench.pod(&Pod::new(name)));
    server.partition();
    let took = pods.each_ref().map(|pod| {
        let (answer, took) = timed(|| bench.add(&bench.containerd, pod).0);
        answer.result();
        took
    });
    assert!(took[0] >= wait, "the first one cannot know: {took:?}");
    assert!(
        took[1..].iter().all(|took| *took < wait / 2),
        "the others need not wait: {took:?}"
    );
    server.resume();
    for pod in &pods {
        wait_patch(server, pod, 200);
        assert!(status(&bench, pod).is_some());
    }
    wait_recorded(&bench, 3);
}

#[test]
fn a_slow_answer_is_waited_for_no_longer_than_that() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::configured(&node, &cluster, &json!({"statusWait": "100ms"}));
    let slow = server.fault(fault(Effect::Delay(Duration::from_secs(4))));
    let pod = bench.pod(&Pod::new("p"));
    let (answer, took) = timed(|| bench.add(&bench.containerd, &pod).0);
    answer.result();
    assert!(took < Duration::from_secs(3), "{took:?}");
    server.clear_fault(slow);
    wait_patch(server, &pod, 200);
    wait_recorded(&bench, 1);
    assert_eq!(patches(&bench, &pod).len(), 1, "it is slow, not lost");
}

#[test]
fn the_status_appears_when_the_api_server_is_back() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let mut bench = Bench::configured(&node, &cluster, &json!({"statusWait": "10s"}));
    with_snapshot(&bench);
    let pods = ["p0", "p1", "p2", "p3"].map(|name| bench.pod(&Pod::new(name)));
    bench.stop_server();
    for (index, pod) in pods.iter().enumerate() {
        let (answer, took) = timed(|| bench.add(&bench.containerd, pod).0);
        answer.result();
        assert!(
            took < Duration::from_secs(5),
            "a server that refuses is not waited for: {took:?}"
        );
        if index == 1 {
            // The ledger remembers what this daemon has not brought to its end.
            bench.daemon.kill9();
            bench.daemon.restart();
        }
    }
    server.resume();
    for pod in &pods {
        wait_patch(server, pod, 200);
    }
    wait_recorded(&bench, 4);
    for pod in &pods {
        assert!(status(&bench, pod).is_some());
        assert_eq!(patches(&bench, pod).len(), 1);
    }
}

#[test]
fn a_daemon_with_statuses_unwritten_hands_over() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    with_snapshot(&bench);
    let pod = bench.pod(&Pod::new("p"));
    server.partition();
    bench.add(&bench.containerd, &pod).0.result();
    let mut next = Daemon::of_cluster(&node, &bench.config, &bench.kubeconfig, &bench.name);
    next.launch();
    bench.daemon.wait_log("this one stands by");
    let (answer, took) = timed(|| {
        bench
            .add(&bench.containerd, &bench.unknown_pod(Pod::new("other")))
            .0
    });
    answer.result();
    assert!(
        took < Duration::from_secs(8),
        "the one before lets go of the ledger: {took:?}"
    );
    server.resume();
    wait_patch(server, &pod, 200);
    wait_recorded(&bench, 2);
}

#[test]
fn del_cancels_what_is_not_written() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    let (pod, other) = (bench.pod(&Pod::new("p")), bench.pod(&Pod::new("other")));
    let sandbox = node.sandbox("p");
    let target = Target::new(&sandbox, "eth0", &pod);
    bench.stop_server();
    bench.containerd.add(&target).result();
    bench.containerd.del(&target).expect_silence();
    // Had the first one been left to go on, it would be tried before this one.
    bench.add(&bench.containerd, &other).0.result();
    server.resume();
    wait_patch(server, &other, 200);
    wait_recorded(&bench, 1);
    assert!(patches(&bench, &pod).is_empty());
}

#[test]
fn one_that_lands_wakes_those_that_wait() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    let failing = server.fault(fault(Effect::Error(500)));
    let (pod, other) = (bench.pod(&Pod::new("p")), bench.pod(&Pod::new("other")));
    bench.add(&bench.containerd, &pod).0.result();
    // The pause after so many tries is of two seconds at least.
    server.wait(PATIENCE, |entries| {
        entries.iter().filter(|entry| is_patch(entry, &pod)).count() >= 5
    });
    server.clear_fault(failing);
    bench.add(&bench.containerd, &other).0.result();
    let ((), took) = timed(|| wait_patch(server, &pod, 200));
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[test]
fn a_required_status_that_cannot_be_written_is_rolled_back() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::configured(
        &node,
        &cluster,
        &json!({"statusRequired": true, "statusWait": "300ms"}),
    );
    bench.define("a");
    let forbidden = server.fault(fault(Effect::Error(403)));
    let pod = bench.pod(&Pod::new("p").with_networks("a"));
    let (answer, calls) = bench.add(&bench.containerd, &pod);
    answer.expect_error(11, &["statusRequired", "403"]);
    assert_eq!(
        calls,
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    assert_eq!(
        bench
            .node
            .run(|| fs::read_dir(LEDGER).expect("the ledger").count()),
        0
    );
    server.clear_fault(forbidden);
    bench.add(&bench.containerd, &pod).0.result();
    assert_eq!(
        status(&bench, &pod).expect("a status")[1]["interface"],
        "net1"
    );
    // A pod that is gone needs none.
    bench
        .add(&bench.containerd, &bench.unknown_pod(Pod::new("gone")))
        .0
        .result();
}

/// The pod that kubelet has from a file, and the mirror that it makes of it.
fn static_pod(bench: &Bench<'_>, hash: &str) -> (Pod, Pod) {
    let pod = Pod::new("etcd").annotated(SOURCE, "file");
    (
        bench.unknown_pod(Pod {
            uid: hash.into(),
            ..pod.clone()
        }),
        pod.annotated(MIRROR, hash),
    )
}

#[test]
fn a_static_pod_is_written_under_its_mirrors_uid() {
    let (node, cluster) = (node!(), Cluster::new());
    let bench = Bench::start(&node, &cluster);
    bench.wait_watches();
    let (pod, mirror) = static_pod(&bench, "hash");
    // At boot kubelet starts it before the API server has the mirror, or while it has the one of before.
    bench.pod(&static_pod(&bench, "hash-of-an-older-manifest").1);
    let (answer, took) = timed(|| bench.add(&bench.containerd, &pod).0);
    answer.result();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(status(&bench, &pod), None);
    bench.namespace.remove_pod(&pod.name);
    let mirror = bench.pod(&mirror);
    bench.namespace.wait_for_annotation(&pod.name, STATUS);
    wait_recorded(&bench, 1);
    if cluster.server().is_some() {
        let patches = patches(&bench, &pod);
        let body: Value = serde_json::from_str(&patches[0].body).expect("JSON");
        assert_eq!(
            (patches.len(), &body["metadata"]["uid"]),
            (1, &json!(mirror.uid))
        );
    }
}

#[test]
fn a_mirror_that_goes_before_the_status_came_is_waited_for_again() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    bench.wait_watches();
    let (pod, mirror) = static_pod(&bench, "hash");
    // The watch is behind: it has a mirror that the server does not have any more.
    bench.pod(&mirror);
    bench
        .add(&bench.older, &bench.pod(&Pod::new("seen")))
        .0
        .result();
    let stalled = server.fault(Fault::new("watch", "pods", Effect::Stall).of_user(USER));
    bench.namespace.remove_pod(&pod.name);
    bench.add(&bench.containerd, &pod).0.result();
    wait_patch(server, &pod, 404);
    bench.pod(&mirror);
    server.clear_fault(stalled);
    wait_patch(server, &pod, 200);
    wait_recorded(&bench, 2);
}

#[test]
fn a_status_that_is_too_large_is_not_sent() {
    rows!("K-097");
    let (node, cluster) = (node!(), Cluster::new());
    server!(cluster);
    let bench = Bench::start(&node, &cluster);
    let search: Vec<_> = (0..20_000)
        .map(|index| format!("d{index}.example.org"))
        .collect();
    let result = json!({
        "cniVersion": "$CNIVERSION", "interfaces": [{"name": "$IFNAME", "sandbox": "$NETNS"}],
        "dns": {"search": search},
    });
    bench
        .node
        .plugin("large", &Script::new().on("ADD", [Step::Result(result)]));
    bench
        .namespace
        .definition("large", &json!({"cniVersion": "1.0.0", "type": "large"}));
    let pod = bench.pod(&Pod::new("p").with_networks("large"));
    bench.add(&bench.containerd, &pod).0.result();
    wait_recorded(&bench, 1);
    assert!(patches(&bench, &pod).is_empty());
    assert!(
        bench.daemon.log().contains("262144"),
        "{}",
        bench.daemon.log()
    );
}

#[test]
fn many_statuses_land_together_after_an_outage() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let bench = Bench::start(&node, &cluster);
    let pods: Vec<_> = (0..20)
        .map(|index| bench.pod(&Pod::new(&format!("p{index}"))))
        .collect();
    bench.stop_server();
    thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| bench.add(&bench.containerd, pod).0.result().clone());
        }
    });
    server.resume();
    wait_patch(server, &pods[0], 200);
    let ((), took) = timed(|| pods.iter().for_each(|pod| wait_patch(server, pod, 200)));
    assert!(
        took < Duration::from_secs(5),
        "one pause is enough for all: {took:?}"
    );
}
