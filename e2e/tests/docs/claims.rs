//! The example of a claim in `docs/devices.md` works as it is, with a driver whose devices have the
//! documented attributes.

use plexus_e2e::kubelet::{self, Claim, Container};
use plexus_e2e::{Cluster, PlexusInCluster, Pod, attaches, node, server, yaml};
use serde_json::{Value, json};

use crate::devices::example;

#[test]
fn the_networks_of_a_pod_get_the_devices_of_its_claim() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let kubelet = node.kubelet();
    let plexus = PlexusInCluster::start_with(&node, &cluster, json!({"dra": "on"}));
    for plugin in ["sriov", "host-local"] {
        node.plugin(plugin, &attaches());
    }
    let objects = yaml::documents(&example("claimant")).expect("YAML");
    let of_kind = |kind: &str| {
        let mut found = objects.iter().filter(|object| object["kind"] == kind);
        found.next().expect(kind)
    };
    let (definition, pod) = (
        of_kind("NetworkAttachmentDefinition"),
        of_kind("Pod").clone(),
    );
    let (template, container) = (
        of_kind("ResourceClaimTemplate"),
        &pod["spec"]["containers"][0],
    );
    let named = &pod["spec"]["resourceClaims"][0];
    assert_eq!(
        named["resourceClaimTemplateName"],
        template["metadata"]["name"]
    );
    assert_eq!(
        container["resources"]["claims"][0]["name"], named["name"],
        "the container refers to the claim"
    );
    let request = &template["spec"]["spec"]["devices"]["requests"][0]["exactly"];
    assert_eq!(request["count"], 2);
    let annotations = &definition["metadata"]["annotations"];
    let resource = &annotations["k8s.v1.cni.cncf.io/resourceName"];
    let device = |name: &str, id: &str| {
        json!({"name": name, "attributes": {
            "k8s.cni.cncf.io/resourceName": {"string": resource},
            "k8s.cni.cncf.io/deviceID": {"string": id},
        }})
    };
    server.create(&json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": "s"},
        "spec": {
            "driver": "vfs.example.com", "nodeName": plexus.node_name,
            "pool": {"name": plexus.node_name, "generation": 1, "resourceSliceCount": 1},
            "devices": [device("vf-1", "0000:18:02.1"), device("vf-0", "0000:18:02.0")],
        },
    }));
    server.create(definition);
    let claim = Claim::new(
        "default",
        "claimant-vfs-x",
        "vfs.example.com",
        &plexus.node_name,
        &["vf-0", "vf-1"],
    );
    let main = Container::new("main").claim(claim);
    kubelet.run(kubelet::Pod::new("default", "claimant").with(main));
    let created = server.create(&pod);
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let networks = text(&pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"]);
    let claimant = Pod::new("claimant")
        .in_namespace("default")
        .with_uid(&text(&created["metadata"]["uid"]))
        .with_networks(&networks);
    plexus.add(&plexus.runtime, &claimant).0.result();
    let calls = plexus.calls_of("ADD").into_iter();
    let calls = calls.filter(|call| call.plugin == "sriov");
    let devices: Vec<_> = calls
        .map(|call| {
            (
                call.env("CNI_IFNAME").to_owned(),
                text(&call.config()["deviceID"]),
            )
        })
        .collect();
    let expected = [("north", "0000:18:02.0"), ("south", "0000:18:02.1")];
    let expected = expected.map(|(ifname, device)| (ifname.to_owned(), device.to_owned()));
    assert_eq!(devices, expected);
}
