//! Problems with claims, slices and the API server.

use plexus_api::rows;
use plexus_apiserver::{Effect, Fault};
use plexus_e2e::kubelet::{self, Claim, Container, Device};
use plexus_e2e::plexus_in_cluster::USER;
use plexus_e2e::{Cluster, node, server};
use serde_json::json;

use super::{
    CLAIMS, DRIVER, POOL, SLICES, VF, claim, device_networks, devices, gpu, network_device, pod,
    pod_with_claims, pod_with_vf, slice, start, start_with, wait_claim_read, wait_slice_watches,
};
use crate::rules;

#[test]
fn a_device_in_no_slice_is_named() {
    rows!("D-065");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start_with(&node, &cluster, server, json!({"lookupWait": "100ms"}));
    device_networks(&plexus, server, &["a"]);
    let namespace = plexus.namespace.name();
    let pod = pod_with_vf(&plexus, server);
    let (output, calls) = plexus.add(&plexus.runtime, &pod);
    let device = format!("{DRIVER}/{POOL}/vf-0 of the claim {namespace}/c");
    output.expect_error(111, &["no ResourceSlice has the device", &device]);
    assert_eq!(calls, [""; 0], "no plugin runs");
}

#[test]
fn a_device_of_an_extended_resource_must_name_that_resource() {
    rows!("D-066");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a"]);
    let of_pool = [
        network_device("equal", VF, "v0"),
        network_device("different", "example.com/other", "v1"),
        gpu("missing"),
    ];
    server.create(&slice("s", 1, &of_pool));
    wait_slice_watches(server);
    let add = |device: &str| {
        // Of the two requests, the mapping names the second one for the resource.
        let allocated = [("r0", "missing"), ("r1", device)];
        server.apply(&claim(plexus.namespace.name(), device, Some(&allocated)));
        let fields = json!({"status": {"extendedResourceClaimStatus": {
            "resourceClaimName": device,
            "requestMappings": [
                {"containerName": "main", "resourceName": "example.com/gpu", "requestName": "r0"},
                {"containerName": "main", "resourceName": VF, "requestName": "r1"},
            ],
        }}});
        let pod = pod(&plexus, server, device, "a", &fields);
        plexus.add(&plexus.runtime, &pod).0
    };
    add("equal").result();
    assert_eq!(devices(&plexus, "ADD"), ["a v0"]);
    add("different").expect_error(111, &[VF, "has the attribute", "\"example.com/other\""]);
    add("missing").expect_error(111, &[VF, "lacks an attribute"]);
}

#[test]
fn a_claim_of_extended_resources_that_no_network_needs_is_not_read() {
    rows!("D-066");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a"]);
    let fields = json!({"status": {"extendedResourceClaimStatus": {
        "resourceClaimName": "gpus",
        "requestMappings": [
            {"containerName": "main", "resourceName": "example.com/gpu", "requestName": "r0"},
        ],
    }}});
    let pod = pod(&plexus, server, "p", "a", &fields);
    let (output, _) = plexus.add(&plexus.runtime, &pod);
    output.expect_error(111, &[VF]);
    let reads = ["pods", CLAIMS].map(|resource| plexus.count("get", resource));
    assert_eq!(reads, [1, 0]);
}

#[test]
fn a_claim_that_does_not_exist_is_named() {
    rows!("D-068");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a"]);
    let pod = pod_with_claims(&plexus, server, "p", "a", &["gone"]);
    let claim = format!("the claim {}/gone does not exist", plexus.namespace.name());
    let (output, calls) = plexus.add(&plexus.runtime, &pod);
    output.expect_error(111, &[VF, &claim]);
    assert_eq!(calls, [""; 0], "no plugin runs");
}

#[test]
fn a_problem_with_a_claim_fails_only_the_networks_that_need_it() {
    rows!("D-067", "D-068");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let kubelet = node.kubelet();
    let plexus = start(&node, &cluster, server);
    plexus.define("plain");
    device_networks(&plexus, server, &["a", "b"]);
    let namespace = plexus.namespace.name();
    server.create(&slice("s", 1, &[network_device("vf-0", VF, "v0")]));
    server.apply(&claim(namespace, "none", None));
    let add = |name: &str, networks: &str| {
        let device = Device::new(VF, "plugin");
        let container = Container::new("main").device(device);
        kubelet.run(kubelet::Pod::new(namespace, name).with(container));
        let pod = pod_with_claims(&plexus, server, name, networks, &["none"]);
        plexus.add(&plexus.runtime, &pod).0
    };
    let unallocated = format!("the claim {namespace}/none has no allocation");
    add("p0", "a,b").expect_error(111, &["other devices of the resource", &unallocated]);
    let before = plexus.count("get", CLAIMS);
    add("p1", "a").result();
    add("p2", "plain").result();
    assert_eq!(devices(&plexus, "ADD"), ["a plugin"]);
    assert_eq!(plexus.count("get", CLAIMS), before);
    // The server does not answer, or refuses.
    let fault = server.fault(Fault::new("get", CLAIMS, Effect::Error(500)).of_user(USER));
    add("p3", "a,b").expect_error(111, &["cannot be read", "500"]);
    add("p4", "a").result();
    server.clear_fault(fault);
    server.restrict(USER, rules("deploy/node/access.yaml"));
    add("p5", "a,b").expect_error(111, &["403", "apply deploy/components/dra"]);
}

#[test]
fn a_resource_without_devices_needs_no_claims() {
    rows!("D-067");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let kubelet = node.kubelet();
    let plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a"]);
    // Neither kubelet nor a slice has a device of the resource.
    kubelet.has_devices([Device::new("example.com/other", "x")]);
    kubelet.run(kubelet::Pod::new(plexus.namespace.name(), "p").with(Container::new("main")));
    let pod = pod_with_claims(&plexus, server, "p", "a", &[]);
    wait_slice_watches(server);
    server.fault(Fault::new("get", "*", Effect::Error(503)).of_user(USER));
    plexus.add(&plexus.runtime, &pod).0.result();
    assert_eq!(
        devices(&plexus, "ADD"),
        [""; 0],
        "attached without a device"
    );
    // A slice has one, which may be the pod's.
    server.create(&slice("s", 1, &[network_device("vf-0", VF, "v0")]));
    let claim = Claim::new(plexus.namespace.name(), "c", DRIVER, POOL, &["vf-0"]);
    let with_claim = Container::new("main").claim(claim);
    kubelet.run(kubelet::Pod::new(plexus.namespace.name(), "p").with(with_claim));
    plexus.add(&plexus.runtime, &pod).0.result();
    assert_eq!(devices(&plexus, "ADD"), ["a v0"]);
}

#[test]
fn a_look_up_ends_with_its_call() {
    rows!("D-068");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    // Without its caller, ADD would still wait when the time of DEL is over.
    let keys = json!({"lookupWait": "1m", "delTimeout": "10s"});
    let plexus = start_with(&node, &cluster, server, keys);
    device_networks(&plexus, server, &["a"]);
    let pod = pod_with_vf(&plexus, server);
    wait_slice_watches(server);
    let target = plexus.target(&pod);
    let running = plexus.runtime.start("ADD", &target);
    wait_claim_read(server);
    // ADD waits for the slice. Its DEL waits for the container, which is free as soon as the caller
    // of ADD is gone.
    running.kill();
    plexus.runtime.del(&target).expect_success();
    assert_eq!(devices(&plexus, "ADD"), [""; 0]);
}

#[test]
fn a_cluster_without_the_api_serves_all_other_pods() {
    rows!("D-060");
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    server.fault(Fault::new("*", SLICES, Effect::Error(404)).of_user(USER));
    let kubelet = node.kubelet();
    let mut plexus = start(&node, &cluster, server);
    device_networks(&plexus, server, &["a"]);
    let device = Device::new(VF, "plugin");
    let container = Container::new("main").device(device);
    kubelet.run(kubelet::Pod::new(plexus.namespace.name(), "p").with(container));
    let pod = pod_with_claims(&plexus, server, "p", "a", &[]);
    plexus.add(&plexus.runtime, &pod).0.result();
    assert_eq!(devices(&plexus, "ADD"), ["a plugin"]);
    plexus
        .daemon
        .wait_log("the API server has no resourceslices");
    plexus.daemon.wait_ready();
}
