//! The objects in `deploy/examples` as written.

use plexus_e2e::workspace::read;
use serde_json::{Value, json};

use crate::objects::{check_schema, documents};

/// The specifications of all pods of the first example.
fn pods() -> Vec<Value> {
    let objects = documents(&read("deploy/examples/first.yaml"));
    let workloads = objects
        .into_iter()
        .filter(|object| object["kind"] != "NetworkAttachmentDefinition");
    let workloads: Vec<_> = workloads.inspect(check_schema).collect();
    let spec = |object: &Value| match object["kind"].as_str() {
        Some("Pod") => object["spec"].clone(),
        _ => object["spec"]["template"]["spec"].clone(),
    };
    workloads.iter().map(spec).collect()
}

#[test]
fn the_first_example_runs_on_a_stock_cluster() {
    let pods = pods();
    assert_eq!(pods.len(), 3);
    // Pod Security Standards allow this sysctl at all levels, and forbid the capability NET_RAW.
    let context = json!({
        "sysctls": [{"name": "net.ipv4.ping_group_range", "value": "0 2147483647"}],
    });
    for pod in &pods {
        assert_eq!(pod["securityContext"], context);
        let container = &pod["containers"][0];
        assert_eq!(container.get("securityContext"), None);
        let image = container["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').expect("a tag").1;
        assert!(
            image.starts_with("registry.k8s.io/") && tag != "latest",
            "{image}"
        );
        let affinity = &pod["affinity"]["podAffinity"];
        let term = &affinity["requiredDuringSchedulingIgnoredDuringExecution"][0];
        assert_eq!(
            term["topologyKey"], "kubernetes.io/hostname",
            "the bridge is on one node"
        );
        assert_eq!(
            term["labelSelector"]["matchLabels"],
            json!({"app": "first"})
        );
    }
}

#[test]
fn the_quickstart_names_the_objects_of_the_first_example() {
    let objects = documents(&read("deploy/examples/first.yaml"));
    let page = read("docs/quickstart.md");
    let line = "both pods answer on net1";
    assert!(
        page.contains(line)
            && read("deploy/examples/first.yaml").contains(&format!("echo \"{line}\""))
    );
    for (kind, command) in [("Job", "logs job/"), ("Job", "job/"), ("Pod", "get pod ")] {
        let mut named = page.split(command).skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-');
            &rest[..end.unwrap_or(rest.len())]
        });
        let exists = |name: &str| {
            let is = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
            objects.iter().any(is)
        };
        assert!(page.contains(command) && named.all(exists), "{command}");
    }
}
