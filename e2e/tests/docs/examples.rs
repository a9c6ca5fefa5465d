//! The pods in the documentation and in `deploy/examples` start and stop on CRI-O, with the
//! definitions beside them and the reference plugins.

use std::collections::BTreeMap;
use std::fs;

use plexus_api::rows;
use plexus_api::selection::{self, NETWORKS};
use plexus_e2e::binaries::plugin_dir;
use plexus_e2e::workspace::{files, read};
use plexus_e2e::{Flavour, Node, Plexus, Pod, Runtime, node, or_skip, yaml};
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
    Plexus::on(node)
        .default_network(serde_json::from_str(&default).expect("JSON"))
        .start()
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

/// Starts and stops the pods as CRI-O does, and asserts that each gets its networks and leaves
/// nothing.
fn run_pods(plexus: &Plexus<'_>, pods: &[Pod]) {
    let node = plexus.node;
    for pod in pods {
        let runtime = Runtime::of_shim(node, Flavour::Crio, json!({}));
        let sandbox = node.sandbox(&pod.name);
        let output = runtime.run_pod(&sandbox, pod);
        assert!(output.ok(), "{pod:?}: {output:?}");
        let selected = pod.annotations.get(NETWORKS).map_or(0, |text| {
            selection::parse(text, "default").expect("valid").len()
        });
        let links = sandbox.link_names();
        assert_eq!(links.len(), 2 + selected, "{pod:?}: {links:?}");
        let output = runtime.stop_pod(&sandbox, pod);
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
    let plexus = start(&node);
    let documents = ["docs/workload-author.md", "README.md"].map(Document::read);
    let samples = documents.iter().flat_map(|document| &document.fences);
    let samples = samples.filter(|fence| fence.info == "yaml");
    let pods: Vec<_> = samples
        .enumerate()
        .flat_map(|(number, fence)| apply(&plexus, &format!("{number}.yaml"), &fence.body))
        .collect();
    assert!(pods.len() > 4, "{pods:?}");
    run_pods(&plexus, &pods);
}

#[test]
fn the_pods_of_the_examples_run_with_their_definitions() {
    rows!("P-096");
    let dir = or_skip!(plugin_dir(&PLUGINS));
    let node = node!();
    node.real_plugins(&dir, &PLUGINS);
    let plexus = start(&node);
    let pods: Vec<_> = ["networks", "pod"]
        .iter()
        .flat_map(|name| {
            let text = read(&format!("deploy/examples/{name}.yaml"));
            apply(&plexus, &format!("{name}.yaml"), &text)
        })
        .collect();
    assert!(!pods.is_empty());
    run_pods(&plexus, &pods);
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
    assert_eq!(kinds, ["NetworkAttachmentDefinition", "Pod"]);
}
