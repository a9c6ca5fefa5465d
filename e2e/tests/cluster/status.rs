//! network-status on the pod.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use plexus_api::rows;
use plexus_apiserver::{ApiServer, AuditEntry, Effect, Fault};
use plexus_e2e::leftovers::LEDGER;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::plexus_in_cluster::{TIMEOUT, USER};
use plexus_e2e::{Cluster, NodeWatch, PlexusInCluster, Pod, Script, Step, node, server};
use serde_json::{Value, json};

pub const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";

/// The text of the annotation in the API server.
fn text(plexus: &PlexusInCluster<'_>, pod: &Pod) -> Option<String> {
    let object = plexus.namespace.get_pod(&pod.name)?;
    let text = object["metadata"]["annotations"][STATUS].as_str()?;
    Some(text.to_owned())
}

/// The annotation in the API server.
pub fn status(plexus: &PlexusInCluster<'_>, pod: &Pod) -> Option<Value> {
    text(plexus, pod).map(|text| serde_json::from_str(&text).expect("JSON"))
}

/// Whether a request writes the status of this pod.
pub fn is_patch(entry: &AuditEntry, pod: &Pod) -> bool {
    entry.user == USER && entry.matches("patch", "pods/status") && entry.path.name == pod.name
}

/// The requests that write the status of this pod.
pub fn patches(plexus: &PlexusInCluster<'_>, pod: &Pod) -> Vec<AuditEntry> {
    let mut requests = plexus.requests();
    requests.retain(|entry| is_patch(entry, pod));
    requests
}

/// Waits until a write of the pod's status was answered with `code`.
pub fn wait_patch(server: &ApiServer, pod: &Pod, code: u16) {
    server.wait(TIMEOUT, |entries| {
        entries
            .iter()
            .filter(|entry| is_patch(entry, pod))
            .any(|patch| patch.code == Some(code) && patch.finished.is_some())
    });
}

/// Waits until this number of records have their status written.
pub fn wait_recorded(plexus: &PlexusInCluster<'_>, count: usize) {
    NodeWatch::new(plexus.node, &[LEDGER]).wait_while(|| {
        let names = plexus.node.list(LEDGER).into_iter();
        let records: Vec<_> = names
            .map(|name| plexus.node.try_read(Path::new(LEDGER).join(name)))
            .map(Result::unwrap_or_default)
            .collect();
        let written = records
            .iter()
            .filter(|record| record.contains("\"statusWritten\""))
            .count();
        (written != count).then_some(records)
    });
}

/// Sets the address and the gateway in the default network.
pub fn set_default_address(plexus: &PlexusInCluster<'_>, address: &str, gateway: &str) {
    let result = Step::result(address, gateway);
    plexus.node.plugin(MAIN, &Script::new().on("ADD", [result]));
}

/// A fault of the daemon's writes of a status.
pub fn fault(effect: Effect) -> Fault {
    Fault::new("patch", "pods/status", effect).of_user(USER)
}

pub fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (call(), start.elapsed())
}

#[test]
fn the_status_has_the_same_format_as_with_multus() {
    rows!("K-080", "K-081", "K-082");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    plexus.define("b");
    set_default_address(&plexus, "10.1.0.5/24", "10.1.0.1");
    let pod = plexus.pod(&Pod::new("p").with_networks("a,b@extra"));
    plexus.add(&plexus.runtime, &pod).0.result();
    let text = plexus.namespace.wait_for_annotation("p", STATUS);
    assert!(
        text.starts_with(
            "[{\n    \"name\": \"pods\",\n    \"interface\": \"eth0\",\n    \"ips\": [\n"
        ),
        "{text}"
    );
    let entries: Vec<Value> = serde_json::from_str(&text).expect("a list");
    let fields: Vec<_> = entries
        .iter()
        .map(|entry| (&entry["name"], &entry["interface"], &entry["default"]))
        .collect();
    let [a, b] = ["a", "b"].map(|name| json!(format!("{}/{name}", pod.namespace)));
    assert_eq!(
        fields,
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
fn an_add_makes_one_write_and_no_read() {
    rows!("K-092", "K-096");
    let (node, cluster) = (node!(), Cluster::new());
    server!(cluster);
    let mut plexus = PlexusInCluster::start(&node, &cluster);
    plexus.define("a");
    plexus.wait_watches();
    let pod = plexus.pod(&Pod::new("p").with_networks("a"));
    let before = plexus.requests().len();
    plexus.add(&plexus.runtime, &pod).0.result();
    let entries = plexus.requests().split_off(before);
    let summaries: Vec<_> = entries
        .iter()
        .map(AuditEntry::summary)
        .filter(|summary| !summary.ends_with(" events"))
        .collect();
    assert_eq!(summaries, ["patch pods/status"]);
    let body: Value = serde_json::from_str(&patches(&plexus, &pod)[0].body).expect("JSON");
    let text = text(&plexus, &pod).expect("the status is written before ADD returns");
    assert_eq!(
        body,
        json!({"metadata": {"uid": pod.uid, "annotations": {STATUS: text}}})
    );
    // The next daemon does not repeat the write.
    plexus.daemon.restart();
    let other = plexus.pod(&Pod::new("other"));
    plexus.add(&plexus.runtime, &other).0.result();
    assert_eq!(patches(&plexus, &pod).len(), 1);
}

#[test]
fn no_status_is_written_for_a_deleted_or_replaced_pod() {
    rows!("K-092");
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    let current = plexus.pod(&Pod::new("web-0"));
    let former = current.clone().with_uid("former");
    let deleted = plexus.unknown_pod(Pod::new("deleted"));
    for (index, (pod, code)) in [(&former, 422), (&deleted, 404)].into_iter().enumerate() {
        plexus.add(&plexus.runtime, pod).0.result();
        wait_recorded(&plexus, index + 1);
        if cluster.server().is_some() {
            let patches = patches(&plexus, pod);
            let codes: Vec<_> = patches.iter().map(|patch| patch.code).collect();
            assert_eq!(codes, [Some(code)]);
        }
    }
    assert_eq!(status(&plexus, &current), None);
}

#[test]
fn del_cancels_a_pending_write() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    let [pod, other] = ["p", "other"].map(|name| plexus.pod(&Pod::new(name)));
    let sandbox = node.sandbox("p");
    let target = sandbox.target(&pod);
    plexus.stop_server();
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_success();
    // The write for `pod` would come before this one.
    plexus.add(&plexus.runtime, &other).0.result();
    server.resume();
    wait_patch(server, &other, 200);
    wait_recorded(&plexus, 1);
    assert!(patches(&plexus, &pod).is_empty());
}

#[test]
fn an_add_is_rolled_back_if_its_required_status_cannot_be_written() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let keys = json!({"statusRequired": true, "statusWait": "300ms"});
    let plexus = PlexusInCluster::start_with(&node, &cluster, keys);
    plexus.define("a");
    let forbidden = server.fault(fault(Effect::Error(403)));
    let pod = plexus.pod(&Pod::new("p").with_networks("a"));
    let (output, calls) = plexus.add(&plexus.runtime, &pod);
    output.expect_error(11, &["statusRequired", "403"]);
    assert_eq!(
        calls,
        ["ADD main eth0", "ADD a net1", "DEL a net1", "DEL main eth0"]
    );
    assert_eq!(plexus.records(), [""; 0]);
    server.clear_fault(forbidden);
    plexus.add(&plexus.runtime, &pod).0.result();
    let status = status(&plexus, &pod).expect("a status");
    assert_eq!(status[1]["interface"], "net1");
    // A deleted pod needs no status.
    let deleted = plexus.unknown_pod(Pod::new("deleted"));
    plexus.add(&plexus.runtime, &deleted).0.result();
}

/// Defines the network `large`, whose result has this number of search domains. Returns the domains.
pub fn define_large(plexus: &PlexusInCluster<'_>, domains: usize) -> Vec<String> {
    let search: Vec<_> = (0..domains)
        .map(|index| format!("d{index}.example.org"))
        .collect();
    let result = json!({
        "cniVersion": "$CNIVERSION", "interfaces": [{"name": "$IFNAME", "sandbox": "$NETNS"}],
        "dns": {"search": search},
    });
    plexus.define("large");
    let script = Script::new().on("ADD", [Step::Result(result)]);
    plexus.node.plugin("large", &script);
    search
}

#[test]
fn a_status_that_is_too_large_is_not_sent() {
    rows!("K-097");
    let (node, cluster) = (node!(), Cluster::new());
    server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    define_large(&plexus, 15_000);
    let pod = plexus.pod(&Pod::new("p").with_networks("large"));
    plexus.add(&plexus.runtime, &pod).0.result();
    wait_recorded(&plexus, 1);
    assert!(patches(&plexus, &pod).is_empty());
    let log = plexus.daemon.log();
    assert!(log.contains("256 KiB"), "{log}");
}

#[test]
fn many_statuses_are_written_together_after_an_outage() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    let pods: Vec<_> = (0..20)
        .map(|index| plexus.pod(&Pod::new(&format!("p{index}"))))
        .collect();
    plexus.stop_server();
    thread::scope(|scope| {
        for pod in &pods {
            scope.spawn(|| plexus.add(&plexus.runtime, pod).0.result().clone());
        }
    });
    server.resume();
    wait_patch(server, &pods[0], 200);
    let ((), took) = timed(|| pods.iter().for_each(|pod| wait_patch(server, pod, 200)));
    assert!(
        took < Duration::from_secs(5),
        "all writes need only one back-off: {took:?}"
    );
}
