//! The objects in `deploy/examples` as written.

use std::collections::BTreeSet;

use plexus_e2e::workspace::read;
use serde_json::{Value, json};

use crate::objects::{check_schema, documents};

/// All pods of the first example.
fn pods() -> Vec<Value> {
    let objects = documents(&read("deploy/examples/first.yaml"));
    let workloads = objects
        .into_iter()
        .filter(|object| object["kind"] != "NetworkAttachmentDefinition");
    let workloads: Vec<_> = workloads.inspect(check_schema).collect();
    let pod = |object: Value| match object["kind"].as_str() {
        Some("Pod") => object,
        _ => object["spec"]["template"].clone(),
    };
    workloads.into_iter().map(pod).collect()
}

#[test]
fn the_first_example_runs_on_a_stock_cluster() {
    let pods = pods();
    assert_eq!(pods.len(), 3);
    // Pod Security Standards allow this sysctl at all levels, and forbid the capability NET_RAW.
    let context = json!({
        "sysctls": [{"name": "net.ipv4.ping_group_range", "value": "0 2147483647"}],
    });
    for pod in pods.iter().map(|pod| &pod["spec"]) {
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
fn no_pod_of_the_first_example_can_get_the_address_of_another_one() {
    let addresses = pods().into_iter().map(|pod| {
        let networks = &pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"];
        let networks = networks.as_str().expect("an annotation");
        let networks: Value = serde_json::from_str(networks).expect("JSON");
        let address = networks[0]["ips"][0].as_str().expect("a fixed address");
        address.to_owned()
    });
    assert_eq!(addresses.collect::<BTreeSet<_>>().len(), 3);
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
