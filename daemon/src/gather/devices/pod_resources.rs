//! Kubelet's pod-resources API: the devices that are allocated to a pod, and those of the node.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plexus_api::shorten;
use prost::Message;
use prost::bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::{Code, Status};

use super::claims::ClaimDevice;
use super::kubelet_socket;
use super::messages::{
    AllocatableResponse, Empty, GetRequest, GetResponse, ListResponse, PodName, PodResources,
};
use super::socket::{MAX_ANSWER, Socket, SocketId};
use crate::backoff::Backoff;
use crate::host::Host;
use crate::model::PodRef;
use crate::mutex::lock;
use crate::telemetry::Metrics;

/// The time limit for all attempts together (D-049).
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What calls share about kubelet.
#[derive(Debug)]
pub(crate) struct Kubelet {
    metrics: Arc<Metrics>,
    /// The socket of a kubelet that does not implement `Get`.
    without_get: Mutex<Option<SocketId>>,
    /// Held while an answer about the whole node is in memory, which can be large.
    node_answer: tokio::sync::Mutex<()>,
}

/// The devices that are allocated to a pod.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PodDevices {
    /// The IDs of devices of device plugins, by resource. No set is empty.
    pub(super) by_resource: BTreeMap<String, BTreeSet<String>>,
    /// The devices of the claims that the pod's containers refer to.
    pub(super) claim_devices: BTreeSet<ClaimDevice>,
}

/// Kubelet did not answer, or with an error.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot read the pod's devices from {}: {cause}; {remedy}", socket.display())]
pub(crate) struct KubeletError {
    socket: PathBuf,
    cause: String,
    remedy: &'static str,
}

/// The queries of one call.
#[derive(Debug)]
pub(super) struct Queries<'a> {
    kubelet: &'a Kubelet,
    host: &'a Host,
    socket: PathBuf,
    deadline: Instant,
}

impl Kubelet {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            without_get: Mutex::default(),
            node_answer: tokio::sync::Mutex::default(),
        }
    }
}

impl<'a> Queries<'a> {
    /// Queries to the kubelet whose root directory is `kubelet_dir` on `host`, which end at
    /// `deadline` or after [`TIME_LIMIT`].
    pub(super) fn new(
        kubelet: &'a Kubelet,
        host: &'a Host,
        kubelet_dir: &Path,
        deadline: Instant,
    ) -> Self {
        Self {
            kubelet,
            host,
            socket: kubelet_socket(kubelet_dir),
            deadline: deadline.min(Instant::now() + TIME_LIMIT),
        }
    }

    /// The path of the socket on the host.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The devices of `pod`. Returns `None` if there is no socket.
    ///
    /// # Errors
    /// Kubelet has not answered, or does not know the pod.
    pub(super) async fn pod(&self, pod: &PodRef) -> Result<Option<PodDevices>, KubeletError> {
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        loop {
            match self.try_pod(pod).await {
                Ok(devices) => return Ok(devices),
                Err(status) => self.pause(&mut backoff, status).await?,
            }
        }
    }

    /// The resources of which the node has devices, allocated or not. Returns `None` if kubelet
    /// does not report them, or if there is no socket.
    ///
    /// # Errors
    /// Kubelet has not answered.
    pub(super) async fn node_resources(&self) -> Result<Option<BTreeSet<String>>, KubeletError> {
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        loop {
            match self.try_node_resources().await {
                Ok(resources) => return Ok(resources),
                Err(status) if is_unsupported(&status) => return Ok(None),
                Err(status) => self.pause(&mut backoff, status).await?,
            }
        }
    }

    /// Whether there is a socket. Kubelet answers on it, although it may not implement the request.
    ///
    /// # Errors
    /// Kubelet has not answered.
    pub(super) async fn is_reachable(&self) -> Result<bool, KubeletError> {
        match self.open().await {
            Ok(None) => Ok(false),
            _ => self.node_resources().await.map(|_| true),
        }
    }

    async fn try_pod(&self, pod: &PodRef) -> Result<Option<PodDevices>, Status> {
        let Some(socket) = self.open().await? else {
            return Ok(None);
        };
        let without_get = &self.kubelet.without_get;
        if *lock(without_get) != Some(socket.id) {
            match self.get(&socket, pod).await {
                Err(status) if is_unsupported(&status) => *lock(without_get) = Some(socket.id),
                got => return got.map(|pod| Some(pod.into())),
            }
        }
        let listed = self.list(&socket, pod).await?;
        Ok(Some(listed.into()))
    }

    async fn get(&self, socket: &Socket, pod: &PodRef) -> Result<PodResources, Status> {
        let request = GetRequest {
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
        };
        let response: GetResponse = self.call(socket, "Get", request).await?;
        response
            .pod
            .ok_or_else(|| Status::unknown("an empty answer"))
    }

    async fn list(&self, socket: &Socket, pod: &PodRef) -> Result<PodResources, Status> {
        let _in_memory = self.within(self.kubelet.node_answer.lock()).await?;
        let response: ListResponse = self.call(socket, "List", Empty {}).await?;
        find(response.pods, pod)
    }

    async fn try_node_resources(&self) -> Result<Option<BTreeSet<String>>, Status> {
        let Some(socket) = self.open().await? else {
            return Ok(None);
        };
        let _in_memory = self.within(self.kubelet.node_answer.lock()).await?;
        let call = self.call(&socket, "GetAllocatableResources", Empty {});
        let response: AllocatableResponse = call.await?;
        let resources = response.devices.into_iter().map(|device| device.resource);
        Ok(Some(resources.collect()))
    }

    async fn open(&self) -> Result<Option<Socket>, Status> {
        let opened = self.within(Socket::open(self.host, &self.socket)).await?;
        opened.map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn call<Q, A>(&self, socket: &Socket, method: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let start = Instant::now();
        let answer = self
            .within(Box::pin(socket.call(method, request)))
            .await
            .flatten();
        let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
        let metrics = &self.kubelet.metrics;
        metrics.kubelet_request(method, &format!("{code:?}"), start.elapsed());
        answer.map_err(|status| {
            let cause = match status.code() {
                Code::OutOfRange => format!("the answer has more than {} MiB", MAX_ANSWER >> 20),
                _ => shorten(status.message()),
            };
            Status::new(status.code(), format!("{method}: {cause}"))
        })
    }

    /// Waits for `work` until the deadline.
    async fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Status> {
        let timed_out = |_| Status::deadline_exceeded("no answer in time");
        timeout_at(self.deadline, work).await.map_err(timed_out)
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The error of the last attempt, if there is no time for another one or it would be in vain.
    async fn pause(&self, backoff: &mut Backoff, status: Status) -> Result<(), KubeletError> {
        let end = Instant::now() + backoff.next(Duration::ZERO);
        if is_final(status.code()) || end >= self.deadline {
            return Err(self.error(&status));
        }
        tracing::debug!(socket = %self.socket.display(), cause = status.message(), "retrying kubelet");
        sleep_until(end).await;
        Ok(())
    }

    fn error(&self, status: &Status) -> KubeletError {
        let remedy = match status.code() {
            Code::OutOfRange => "kubelet 1.34 and later reports a single pod",
            Code::ResourceExhausted => {
                "a retry can succeed; other programs query kubelet too often"
            }
            _ => "a retry can succeed; see kubelet's log",
        };
        KubeletError {
            socket: self.socket.clone(),
            cause: status.message().to_owned(),
            remedy,
        }
    }
}

/// Whether kubelet does not have the method, or its feature gate is off. Kubelet has no code for
/// the latter.
fn is_unsupported(status: &Status) -> bool {
    status.code() == Code::Unimplemented
        || status.code() == Code::Unknown && status.message().ends_with("disabled")
}

/// Whether another attempt would end in the same way.
fn is_final(code: Code) -> bool {
    use Code::{DeadlineExceeded, InvalidArgument, OutOfRange, PermissionDenied, Unimplemented};
    matches!(
        code,
        DeadlineExceeded | InvalidArgument | OutOfRange | PermissionDenied | Unimplemented
    )
}

/// Decodes the pod of this namespace and name (D-042).
fn find(pods: Vec<Bytes>, pod: &PodRef) -> Result<PodResources, Status> {
    let malformed = |error| Status::internal(format!("List: a malformed pod: {error}"));
    let mut found = Vec::new();
    for encoded in pods {
        let PodName { name, namespace } = PodName::decode(encoded.clone()).map_err(malformed)?;
        if name == pod.name && namespace == pod.namespace {
            found.push(encoded);
        }
    }
    match found.as_slice() {
        [encoded] => PodResources::decode(encoded.clone()).map_err(malformed),
        [] => Err(Status::unknown(format!("List: no pod {pod}"))),
        // Which of them is the new pod cannot be known.
        _ => Err(Status::unknown(format!("List: {} pods {pod}", found.len()))),
    }
}

impl From<PodResources> for PodDevices {
    /// Merges the containers. A device appears once for each of its NUMA nodes (D-043), and a claim
    /// once for each container that refers to it (D-063).
    fn from(pod: PodResources) -> Self {
        let mut merged = Self::default();
        for container in pod.containers {
            for devices in container
                .devices
                .into_iter()
                .filter(|one| !one.ids.is_empty())
            {
                let ids = merged.by_resource.entry(devices.resource).or_default();
                ids.extend(devices.ids);
            }
            for claim in container.claims {
                let devices = claim.devices.into_iter().map(|device| ClaimDevice {
                    namespace: claim.namespace.clone(),
                    claim: claim.claim.clone(),
                    driver: device.driver,
                    pool: device.pool,
                    device: device.device,
                    share: device.share,
                });
                merged.claim_devices.extend(devices);
            }
        }
        merged
    }
}
