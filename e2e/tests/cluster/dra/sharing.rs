//! Devices that several claims have: shares, and administrative access.

use plexus_api::rows;
use plexus_e2e::kubelet::{self, Claim, Container};
use plexus_e2e::{Cluster, node, server};
use serde_json::{Value, json};

use super::{
    CLAIMS, DRIVER, POOL, VF, allocated, claim_with, device_networks, devices, network_device,
    pod_with_claims, slice, start, wait_slice_watches,
};

/// The result of an allocation, with another field.
fn allocated_with(device: &str, key: &str, value: Value) -> Value {
    let mut result = allocated("nic", device);
    result[key] = value;
    result
}

#[test]
fn each_share_of_a_device_is_for_one_network() {
    rows!("D-063");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let kubelet = node.kubelet();
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a", "b", "c"]);
    server.create(&slice("s", 1, &[network_device("nic-0", VF, "eth1")]));
    let namespace = plexus.namespace.name();
    let share = |id: &str| allocated_with("nic-0", "shareID", json!(id));
    let results = ["s1", "s2"].map(share).into();
    server.apply(&claim_with(namespace, "shared", Some(results)));
    let pod = pod_with_claims(&plexus, server, "p", "a,b", &["shared"]);
    wait_slice_watches(server);
    // Kubelet reports the shares.
    let reported = Claim::new(namespace, "shared", DRIVER, POOL, &[]);
    let reported = reported.share("nic-0", "s1").share("nic-0", "s2");
    let [first, second] = ["c1", "c2"].map(|name| Container::new(name).claim(reported.clone()));
    kubelet.run(kubelet::Pod::new(namespace, "p").with(first).with(second));
    plexus.add(&plexus.runtime, &pod).0.result();
    assert_eq!(devices(&plexus, "ADD"), ["a eth1", "b eth1"]);
    assert_eq!(plexus.count("get", CLAIMS), 0);
    // The shares of kubelet and of the API server are the same: there is no third one.
    let three = pod_with_claims(&plexus, server, "p", "a,b,c", &["shared"]);
    let (output, _) = plexus.add(&plexus.runtime, &three);
    output.expect_error(111, &[VF, "need 3", "have 2"]);
    assert_eq!(plexus.count("get", CLAIMS), 1);
}

#[test]
fn a_device_for_administrative_access_is_not_the_pods() {
    rows!("D-060");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a", "b"]);
    let of_pool = ["vf-0", "vf-1"].map(|name| network_device(name, VF, name));
    server.create(&slice("s", 1, &of_pool));
    let results = vec![
        allocated_with("vf-0", "adminAccess", json!(true)),
        allocated("nic", "vf-1"),
    ];
    server.apply(&claim_with(plexus.namespace.name(), "c", Some(results)));
    wait_slice_watches(server);
    let pod = pod_with_claims(&plexus, server, "p", "a", &["c"]);
    plexus.add(&plexus.runtime, &pod).0.result();
    assert_eq!(devices(&plexus, "ADD"), ["a vf-1"]);
    let two = pod_with_claims(&plexus, server, "q", "a,b", &["c"]);
    let (output, _) = plexus.add(&plexus.runtime, &two);
    output.expect_error(111, &[VF]);
}
