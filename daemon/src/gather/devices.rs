//! The devices that are allocated to a pod (decision 33).

mod checkpoint;
mod claims;
mod dra;
mod messages;
mod pod_resources;
mod socket;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::Sources;
use super::error::GatherError;
use crate::config::{Settings, Switch};
use crate::host::Host;
use crate::model::{Allocation, Devices, PodDevice, PodRef};
use checkpoint::Checkpoint;
use claims::{ClaimDevice, resolve};
use dra::ClaimLookup;
pub(crate) use dra::Needed;
use pod_resources::Queries;
pub(crate) use pod_resources::{Kubelet, KubeletError};
use socket::Socket;

/// The checkpoint in kubelet's root directory.
const CHECKPOINT: &str = "device-plugins/kubelet_internal_checkpoint";
/// Where kubelet has the checkpoint even if it has another root directory.
const DEFAULT_CHECKPOINT: &str = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";

/// The devices of a pod and the resources of the node, from one source.
#[derive(Debug, Default)]
struct Known {
    by_resource: BTreeMap<String, BTreeSet<PodDevice>>,
    /// The resources of which the node has devices. `None` if the source does not say.
    node_resources: Option<BTreeSet<String>>,
}

/// The devices of the pod, for each resource of `needed`. Makes no request if `needed` is empty
/// (D-030).
///
/// # Errors
/// Kubelet did not answer before `deadline`.
pub(super) async fn of_pod(
    sources: Sources<'_>,
    settings: &Settings,
    pod: &PodRef,
    needed: Needed,
    deadline: Instant,
) -> Result<Devices, GatherError> {
    if needed.is_empty() {
        return Ok(Devices::new());
    }
    let resources = needed.keys().cloned().collect();
    let (devices, reported) =
        from_kubelet(sources, &settings.kubelet_dir, pod, resources, deadline).await?;
    let Some(api) = sources.api.filter(|_| settings.dra == Switch::On) else {
        return Ok(devices);
    };
    let claims = ClaimLookup::new(sources.store, api, pod, deadline, settings.lookup_wait);
    // Most pods need no claims, and should not pay for the size of this future.
    Ok(Box::pin(claims.add_to(devices, &needed, reported)).await)
}

/// Whether `host` has kubelet's socket, on which kubelet answers.
///
/// # Errors
/// Kubelet has not answered before `deadline`.
pub(crate) async fn is_reachable(
    kubelet: &Kubelet,
    host: &Host,
    kubelet_dir: &Path,
    deadline: Instant,
) -> Result<bool, KubeletError> {
    Queries::new(kubelet, host, kubelet_dir, deadline)
        .is_reachable()
        .await
}

/// The devices that kubelet has allocated to the pod, for each of `resources`, and all devices of
/// claims that kubelet has reported.
async fn from_kubelet(
    sources: Sources<'_>,
    kubelet_dir: &Path,
    pod: &PodRef,
    resources: BTreeSet<String>,
    deadline: Instant,
) -> Result<(Devices, BTreeSet<ClaimDevice>), GatherError> {
    let start = Instant::now();
    let mut reported = BTreeSet::new();
    let queries = Queries::new(sources.kubelet, sources.host, kubelet_dir, deadline);
    let (known, source) = match queries.pod(pod).await? {
        Some(devices) => {
            let mut known = Known {
                by_resource: whole_devices(devices.by_resource),
                node_resources: None,
            };
            reported = devices.claim_devices;
            // Without DRA, there are no slices.
            let of_claims = resolve(&reported, &BTreeSet::new(), &sources.store.slices());
            for (resource, devices) in of_claims.devices {
                let known = known.by_resource.entry(resource).or_default();
                known.extend(devices);
            }
            let mut without_device = resources.clone();
            without_device.retain(|resource| !known.by_resource.contains_key(resource));
            if !without_device.is_empty() {
                known.node_resources = queries.node_resources().await?;
            }
            if let Some(of_node) = &mut known.node_resources
                && !without_device.is_subset(of_node)
            {
                of_node.extend(registered_resources(sources.host, kubelet_dir).await);
            }
            (known, "pod-resources")
        }
        None => match from_checkpoint(sources, &queries, kubelet_dir, &pod.uid).await {
            Ok(known) => (known, "checkpoint"),
            Err(cause) => {
                let unknown = |resource| (resource, Allocation::Unknown(cause.clone()));
                return Ok((resources.into_iter().map(unknown).collect(), reported));
            }
        },
    };
    let devices = allocations(resources, known);
    log(&devices, source, start);
    Ok((devices, reported))
}

/// Reads the checkpoint.
///
/// # Errors
/// Why the devices of the pod are not known, and the next step.
async fn from_checkpoint(
    sources: Sources<'_>,
    queries: &Queries<'_>,
    kubelet_dir: &Path,
    uid: &str,
) -> Result<Known, String> {
    match read_checkpoint(sources.host, kubelet_dir, uid).await {
        Ok(_) if uid.is_empty() => Err(format!(
            "{} is missing, and the runtime did not pass K8S_POD_UID, which kubelet's checkpoint needs",
            queries.socket().display()
        )),
        Ok(Checkpoint {
            by_resource,
            node_resources,
        }) => Ok(Known {
            by_resource: whole_devices(by_resource),
            node_resources: Some(node_resources),
        }),
        Err(error) if is_missing(&error) => Err(format!(
            "{} and {} are missing; set kubeletDir to the root directory of kubelet",
            queries.socket().display(),
            kubelet_dir.join(CHECKPOINT).display()
        )),
        Err(error) => Err(format!(
            "{}: {error}",
            kubelet_dir.join(CHECKPOINT).display()
        )),
    }
}

/// The resources of device plugins that kubelet knows, even if all their devices are unhealthy:
/// `GetAllocatableResources` reports healthy devices only. Empty if there is no checkpoint.
async fn registered_resources(host: &Host, kubelet_dir: &Path) -> BTreeSet<String> {
    match read_checkpoint(host, kubelet_dir, "").await {
        Ok(checkpoint) => checkpoint.node_resources,
        Err(error) => {
            tracing::debug!(%error, "kubelet's checkpoint cannot be read");
            BTreeSet::new()
        }
    }
}

/// The path of the socket of kubelet's pod-resources API on the node.
pub(crate) fn kubelet_socket(kubelet_dir: &Path) -> PathBuf {
    kubelet_dir.join("pod-resources/kubelet.sock")
}

/// Whether there is a socket on `host`.
///
/// # Errors
/// The path cannot be opened.
pub(crate) async fn kubelet_socket_exists(host: &Host, kubelet_dir: &Path) -> io::Result<bool> {
    let socket = Socket::open(host, &kubelet_socket(kubelet_dir)).await;
    socket.map(|socket| socket.is_some())
}

async fn read_checkpoint(host: &Host, kubelet_dir: &Path, uid: &str) -> io::Result<Checkpoint> {
    match checkpoint::read(host, &kubelet_dir.join(CHECKPOINT), uid).await {
        Err(error) if is_missing(&error) => {
            checkpoint::read(host, Path::new(DEFAULT_CHECKPOINT), uid).await
        }
        read => read,
    }
}

fn whole_devices(ids: BTreeMap<String, BTreeSet<String>>) -> BTreeMap<String, BTreeSet<PodDevice>> {
    let whole = |ids: BTreeSet<String>| ids.into_iter().map(PodDevice::whole).collect();
    let by_resource = ids.into_iter();
    by_resource
        .map(|(resource, ids)| (resource, whole(ids)))
        .collect()
}

fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn allocations(resources: BTreeSet<String>, mut known: Known) -> Devices {
    let mut allocation = |resource: &String| match known.by_resource.remove(resource) {
        Some(ids) => Allocation::Devices(ids),
        None => match &known.node_resources {
            Some(of_node) if !of_node.contains(resource) => Allocation::NotADevice,
            _ => Allocation::NoDevice,
        },
    };
    resources
        .into_iter()
        .map(|resource| {
            let allocation = allocation(&resource);
            (resource, allocation)
        })
        .collect()
}

fn log(devices: &Devices, source: &str, start: Instant) {
    let found = devices.values().map(|allocation| match allocation {
        Allocation::Devices(ids) => ids.len(),
        _ => 0,
    });
    tracing::info!(
        source,
        resources = ?devices.keys().collect::<Vec<_>>(),
        devices = found.sum::<usize>(),
        duration_ms = start.elapsed().as_millis(),
        "read the devices of the pod"
    );
}
