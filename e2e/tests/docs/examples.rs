//! The pods in the documentation and in `deploy/examples` start and stop on CRI-O, with the
//! definitions beside them and the reference plugins.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use plexus_api::rows;
use plexus_api::selection::{self, NETWORKS};
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::workspace::{files, read};
use plexus_e2e::{Flavour, Node, Plexus, Pod, Sandbox, node, or_skip, yaml};
use serde_json::{Value, json};

use crate::document::Document;

/// The plugins of the definitions and of the default network.
const PLUGINS: [&str; 5] = ["bridge", "macvlan", "tuning", "portmap", "host-local"];
/// The interfaces of the node that definitions name.
const UPLINKS: [&str; 2] = ["eth1", "eth2"];

/// Starts Plexus with the default network of `deploy/standalone`.
fn start(node: &Node) -> Plexus<'_> {
    for uplink in UPLINKS {
        node.uplink(uplink);
    }
    let default = read("deploy/standalone/default-network.conflist");
    let mut plexus = Plexus::on(node)
        .default_network(serde_json::from_str(&default).expect("JSON"))
        .flavour(Flavour::Crio)
        .installed()
        .start();
    plexus.runtime.restart();
    plexus
}

/// Writes the definitions in `text` for the daemon, and returns the pods in it.
pub fn apply(plexus: &Plexus<'_>, file: &str, text: &str) -> Vec<Pod> {
    fs::write(plexus.manifests.dir().join(file), text).expect("write a manifest");
    let documents = yaml::documents(text).expect(file);
    documents
        .iter()
        .filter(|document| document["kind"] == "Pod")
        .map(|document| {
            let metadata = &document["metadata"];
            let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
            let annotations: BTreeMap<String, String> =
                serde_json::from_value(metadata["annotations"].clone()).expect(file);
            let pod = Pod::new(&text("name")).in_namespace(&text("namespace"));
            annotations
                .iter()
                .fold(pod, |pod, (key, value)| pod.annotated(key, value.as_str()))
        })
        .collect()
}

/// Starts and stops the pods as CRI-O does, with a restart of CRI-O between, and asserts that each
/// gets its networks and leaves nothing.
fn run_pods(plexus: &mut Plexus<'_>, pods: &[Pod]) {
    for pod in pods {
        let sandbox = plexus.node.sandbox(&pod.name);
        let output = plexus.runtime.run_pod(&sandbox, pod);
        assert!(output.ok(), "{pod:?}: {output:?}");
        let selected = pod.annotations.get(NETWORKS).map_or(0, |text| {
            selection::parse(text, "default").expect("valid").len()
        });
        let links = sandbox.link_names();
        assert_eq!(links.len(), 2 + selected, "{pod:?}: {links:?}");
        plexus.runtime.restart();
        assert_eq!(sandbox.link_names(), links, "{pod:?}");
        let output = plexus.runtime.stop_pod(&sandbox, pod);
        assert!(output.ok(), "{pod:?}: {output:?}");
        assert_eq!(plexus.records(), [""; 0], "{pod:?}");
    }
}

#[test]
fn the_pods_of_the_documentation_run_with_its_definitions() {
    rows!("P-096");
    let dir = or_skip!(plugin_dir(&PLUGINS));
    let node = node!();
    node.real_plugins(&dir, &PLUGINS);
    let mut plexus = start(&node);
    let documents = ["docs/workload-author.md", "README.md"].map(Document::read);
    let samples = documents.iter().flat_map(|document| &document.fences);
    let samples = samples.filter(|fence| fence.info == "yaml");
    let pods: Vec<_> = samples
        .enumerate()
        .flat_map(|(number, fence)| apply(&plexus, &format!("{number}.yaml"), &fence.body))
        .collect();
    assert!(pods.len() > 4, "{pods:?}");
    run_pods(&mut plexus, &pods);
}

#[test]
fn the_pods_of_the_examples_run_with_their_definitions() {
    rows!("P-096");
    let dir = or_skip!(plugin_dir(&PLUGINS));
    let node = node!();
    node.real_plugins(&dir, &PLUGINS);
    let mut plexus = start(&node);
    let pods: Vec<_> = ["networks", "pod"]
        .iter()
        .flat_map(|name| {
            let text = read(&format!("deploy/examples/{name}.yaml"));
            apply(&plexus, &format!("{name}.yaml"), &text)
        })
        .collect();
    assert!(!pods.is_empty());
    run_pods(&mut plexus, &pods);
}

/// The words of a command that are addresses.
fn addresses(command: &Value) -> Vec<Ipv4Addr> {
    let words = command.as_array().expect("a command").iter();
    let words = words.flat_map(|word| word.as_str().expect("text").split([' ', ';', '\n']));
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Connections replace ping, which not every machine has.
#[test]
fn the_pods_of_the_first_example_reach_each_other() {
    let dir = or_skip!(plugin_dir(&PLUGINS));
    let node = node!();
    node.real_plugins(&dir, &PLUGINS);
    let plexus = start(&node);
    let text = read("deploy/examples/first.yaml");
    let mut pods = apply(&plexus, "first.yaml", &text);
    let documents = yaml::documents(&text).expect("YAML");
    let job = documents.iter().find(|document| document["kind"] == "Job");
    let template = &job.expect("a Job")["spec"]["template"];
    let networks = template["metadata"]["annotations"][NETWORKS].as_str();
    pods.push(Pod::new("job").annotated(NETWORKS, networks.expect("networks")));
    let mut pings: Vec<_> = documents
        .iter()
        .filter(|document| document["kind"] == "Pod")
        .map(|pod| addresses(&pod["spec"]["containers"][0]["readinessProbe"]["exec"]["command"]))
        .collect();
    pings.push(addresses(&template["spec"]["containers"][0]["command"]));
    assert_eq!(
        pings.concat().len(),
        4,
        "each pod pings the other, and the Job both: {pings:?}"
    );

    let sandboxes = pods.iter().map(|pod| {
        let sandbox = node.sandbox(&pod.name);
        let output = plexus.runtime.run_pod(&sandbox, pod);
        assert!(output.ok(), "{pod:?}: {output:?}");
        sandbox
    });
    let sandboxes: Vec<_> = sandboxes.collect();
    let listen = |sandbox: &Sandbox<'_>| sandbox.run(|| TcpListener::bind("0.0.0.0:7"));
    // The Job listens on nothing.
    let _listeners: Vec<_> = sandboxes[..2]
        .iter()
        .map(|sandbox| listen(sandbox).expect("listen"))
        .collect();
    for ((pod, sandbox), addresses) in pods.iter().zip(&sandboxes).zip(&pings) {
        for address in addresses {
            let own = sandbox.run(|| TcpListener::bind((*address, 8)));
            assert!(
                own.is_err(),
                "{} has the address {address} itself",
                pod.name
            );
            let connected = sandbox.run(|| TcpStream::connect((*address, 7)));
            assert!(connected.is_ok(), "{}: {address}: {connected:?}", pod.name);
        }
    }
    for (pod, sandbox) in pods.iter().zip(&sandboxes) {
        let output = plexus.runtime.stop_pod(sandbox, pod);
        assert!(output.ok(), "{pod:?}: {output:?}");
    }
    assert_eq!(plexus.records(), [""; 0]);
}

/// `kubectl apply -f deploy/examples` reads all files with these extensions.
#[test]
fn the_examples_apply_to_any_cluster() {
    let names = files(&["deploy/examples"], &["yaml", "yml", "json"]);
    let objects = names
        .iter()
        .flat_map(|name| yaml::documents(&read(name)).expect(name));
    let mut kinds = Vec::new();
    for object in objects {
        assert_eq!(object["metadata"]["namespace"], "default", "{object}");
        assert_eq!(object["metadata"].get("uid"), None, "{object}");
        kinds.push(object["kind"].as_str().expect("a kind").to_owned());
        if let Some(config) = object["spec"]["config"].as_str() {
            let config: Value = serde_json::from_str(config).expect("JSON");
            assert_eq!(
                (&config["type"], &config["ipam"]["type"]),
                (&json!("bridge"), &json!("host-local")),
                "these plugins need nothing of the node"
            );
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["Job", "NetworkAttachmentDefinition", "Pod"]);
}
