//! The devices that kubelet has allocated to a pod.

mod checkpoint;
mod kubelet;
mod outages;

use plexus_e2e::kubelet::{Container, Device, Faults, GetSupport, Kubelet, Pod};
use plexus_e2e::{CniOutput, CniTarget, Plexus};
use serde_json::Value;

const VF: &str = "intel.com/sriov_vf";

/// The pod `default/NAME` with a container that has these devices of [`VF`].
fn pod(name: &str, ids: &[&str]) -> Pod {
    let devices = ids.iter().map(|id| Device::new(VF, id));
    Pod::new("default", name).with(devices.fold(Container::new("app"), Container::device))
}

/// A new sandbox of the pod `default/NAME`, which may have others.
fn target(plexus: &Plexus<'_>, pod: &str, networks: &str) -> CniTarget {
    let number = plexus.node.list("/run/netns").len();
    let sandbox = plexus.node.sandbox(&format!("{pod}-{number}"));
    sandbox.target(&plexus_e2e::Pod::new(pod).with_networks(networks))
}

/// Requests the ADD of the pod `default/NAME` in a new sandbox.
fn add(plexus: &Plexus<'_>, pod: &str, networks: &str) -> CniOutput {
    plexus.runtime.add(&target(plexus, pod, networks))
}

/// The devices that the plugins got at ADD so far, as `NETWORK DEVICE`.
fn devices(plexus: &Plexus<'_>) -> Vec<String> {
    let calls = plexus.calls_of("ADD").into_iter();
    let device = |config: Value| config["deviceID"].as_str().map(str::to_owned);
    calls
        .filter_map(|call| Some(format!("{} {}", call.plugin, device(call.config())?)))
        .collect()
}

/// Makes `kubelet` one without `Get`.
fn without_get(kubelet: &Kubelet) {
    kubelet.set_faults(Faults {
        get: GetSupport::Unimplemented,
        ..Faults::default()
    });
}
