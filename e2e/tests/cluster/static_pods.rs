//! network-status of static pods, which kubelet reads from files.

use std::time::Duration;

use plexus_apiserver::{Effect, Fault};
use plexus_e2e::plexus_in_cluster::USER;
use plexus_e2e::{Cluster, PlexusInCluster, Pod, node, server};
use serde_json::{Value, json};

use crate::status::{STATUS, patches, status, timed, wait_patch, wait_recorded};

const SOURCE: &str = "kubernetes.io/config.source";
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The static pod and its mirror pod in the API server.
fn static_pod(plexus: &PlexusInCluster<'_>, hash: &str) -> (Pod, Pod) {
    let pod = Pod::new("etcd").annotated(SOURCE, "file");
    (
        plexus.unknown_pod(pod.clone().with_uid(hash)),
        pod.annotated(MIRROR, hash),
    )
}

#[test]
fn the_status_of_a_static_pod_is_written_to_its_mirror_pod() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.wait_watches();
    let (pod, mirror) = static_pod(&plexus, "hash");
    // At boot the API server has no mirror pod yet, or that of an older manifest.
    plexus.pod(&static_pod(&plexus, "hash-of-an-older-manifest").1);
    let (output, took) = timed(|| plexus.add(&plexus.runtime, &pod).0);
    output.result();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(status(&plexus, &pod), None);
    plexus.namespace.remove_pod(&pod.name);
    let mirror = plexus.pod(&mirror);
    plexus.namespace.wait_for_annotation(&pod.name, STATUS);
    wait_recorded(&plexus, 1);
    if cluster.server().is_some() {
        let patches = patches(&plexus, &pod);
        let body: Value = serde_json::from_str(&patches[0].body).expect("JSON");
        assert_eq!(
            (patches.len(), &body["metadata"]["uid"]),
            (1, &json!(mirror.uid))
        );
    }
}

#[test]
fn the_status_is_written_to_a_new_mirror_pod_if_the_first_one_was_deleted() {
    let (node, cluster) = (node!(), Cluster::new());
    let server = server!(cluster);
    let plexus = PlexusInCluster::start(&node, &cluster);
    plexus.wait_watches();
    let (pod, mirror) = static_pod(&plexus, "hash");
    // The daemon's watch lags behind and still has a mirror pod that was deleted.
    plexus.pod(&mirror);
    let seen = plexus.pod(&Pod::new("seen"));
    plexus.add(&plexus.plain_runtime, &seen).0.result();
    let stalled = server.fault(Fault::new("watch", "pods", Effect::Stall).of_user(USER));
    plexus.namespace.remove_pod(&pod.name);
    plexus.add(&plexus.runtime, &pod).0.result();
    wait_patch(server, &pod, 404);
    plexus.pod(&mirror);
    server.clear_fault(stalled);
    wait_patch(server, &pod, 200);
    wait_recorded(&plexus, 2);
}
