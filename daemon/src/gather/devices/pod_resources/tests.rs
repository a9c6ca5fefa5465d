use plexus_api::rows;
use plexus_kubelet::{Claim, Container, Device, Faults, GetSupport, Pod};
use tokio::runtime::Handle;

use super::*;
use crate::host::HostRoot;

const RESOURCE: &str = "x/vf";

fn pod_ref(namespace: &str, name: &str) -> PodRef {
    PodRef {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..PodRef::default()
    }
}

/// The devices that the daemon reads if kubelet runs `pods` with `faults`.
async fn read(pods: &[Pod], faults: Faults, pod: &PodRef) -> PodDevices {
    let dir = tempfile::tempdir().expect("a directory");
    let kubelet_dir = dir.path().to_owned();
    let (pods, pod) = (pods.to_owned(), pod.clone());
    // The kubelet has a runtime of its own, which may not be dropped in another one.
    let kubelet = tokio::task::spawn_blocking(move || {
        let kubelet = plexus_kubelet::Kubelet::start(&kubelet_dir);
        for pod in pods {
            kubelet.run(pod);
        }
        kubelet.set_faults(faults);
        kubelet
    });
    let kubelet = kubelet.await.expect("a kubelet");
    let host = Host::start(Handle::current(), HostRoot::Own).expect("a host");
    let state = Kubelet::new(Arc::new(Metrics::new(false)));
    let deadline = Instant::now() + TIME_LIMIT;
    let queries = Queries::new(&state, &host, kubelet.dir(), deadline);
    let devices = queries.pod(&pod).await;
    let stopped = tokio::task::spawn_blocking(move || drop(kubelet));
    stopped.await.expect("the kubelet stops");
    devices.expect("an answer").expect("a socket")
}

fn device(claim: &str, device: &str) -> ClaimDevice {
    ClaimDevice {
        namespace: "ns".to_owned(),
        claim: claim.to_owned(),
        driver: "driver.example.com".to_owned(),
        pool: "pool".to_owned(),
        device: device.to_owned(),
        share: None,
    }
}

fn claim(name: &str, devices: &[&str]) -> Claim {
    Claim::new("ns", name, "driver.example.com", "pool", devices)
}

#[tokio::test]
async fn a_claim_that_containers_share_counts_once_and_its_devices_are_not_named_by_cdi() {
    rows!("D-063", "D-064");
    let [a, b] = ["a", "b"].map(|name| Container::new(name).claim(claim("shared", &["d1", "d2"])));
    let pod = Pod::new("ns", "p")
        .with(a)
        .with(b.claim(claim("own", &["d1"])));
    for get in [GetSupport::Implemented, GetSupport::Disabled] {
        let faults = Faults {
            get,
            ..Faults::default()
        };
        let devices = read(std::slice::from_ref(&pod), faults, &pod_ref("ns", "p")).await;
        let expected = [
            device("own", "d1"),
            device("shared", "d1"),
            device("shared", "d2"),
        ];
        assert_eq!(devices.claim_devices, BTreeSet::from(expected));
        assert_eq!(devices.by_resource, BTreeMap::new());
    }
}

#[tokio::test]
async fn devices_are_merged_over_containers_and_numa_nodes() {
    rows!("D-043", "D-044");
    let numa = Device::new(RESOURCE, "b").on_numa_nodes(&[0, 1]);
    let first = Container::new("a")
        .device(numa)
        .device(Device::new("x/gpu", "g"));
    let second = Container::new("b").device(Device::new(RESOURCE, "a"));
    let pods = [Pod::new("ns", "p").with(first).with(second)];
    let devices = read(&pods, Faults::default(), &pod_ref("ns", "p")).await;
    let set = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect();
    let expected = [("x/gpu", set(&["g"])), (RESOURCE, set(&["a", "b"]))];
    let expected = expected.map(|(resource, ids)| (resource.to_owned(), ids));
    assert_eq!(devices.by_resource, BTreeMap::from(expected));
}

#[test]
fn a_list_must_have_exactly_one_pod_of_the_name_and_the_namespace() {
    rows!("D-042");
    let encode = |namespace: &str, name: &str| {
        let pod = PodName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        Bytes::from(pod.encode_to_vec())
    };
    let pods = vec![
        encode("a", "p"),
        encode("b", "p"),
        encode("a", "q"),
        encode("a", "q"),
    ];
    find(pods.clone(), &pod_ref("b", "p")).expect("one pod");
    for (namespace, name, cause) in [("b", "q", "no pod b/q"), ("a", "q", "2 pods a/q")] {
        let status = find(pods.clone(), &pod_ref(namespace, name)).expect_err(name);
        assert!(status.message().contains(cause), "{status}");
        assert!(!is_final(status.code()), "{status}");
    }
}

#[test]
fn methods_that_kubelet_does_not_have_are_recognized() {
    rows!("D-041");
    let disabled = Status::unknown("Get: PodResources API Get method disabled");
    assert!(is_unsupported(&disabled));
    assert!(is_unsupported(&Status::unimplemented("unknown method")));
    let not_found = Status::unknown("Get: pod p in namespace n not found");
    assert!(!is_unsupported(&not_found) && !is_final(not_found.code()));
}
