//! The state of a kubelet, and its answers.

use prost::Message as _;
use tonic::Status;

use crate::faults::{Faults, GetSupport};
use crate::message::{
    AllocatableResourcesResponse, ContainerResources, GetPodResourcesRequest,
    GetPodResourcesResponse, ListPodResourcesResponse, PodResources,
};
use crate::pod::{Device, Pod};

/// The size of the pods that enlarge an answer, in bytes.
const PADDING: usize = 64 << 10;

/// A call that a kubelet got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `Get`, `List` or `GetAllocatableResources`.
    pub method: &'static str,
    /// `NAMESPACE/NAME` of the pod, for `Get`.
    pub pod: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) pods: Vec<Pod>,
    pub(crate) devices: Option<Vec<Device>>,
    pub(crate) faults: Faults,
    pub(crate) calls: Vec<Call>,
}

impl State {
    /// Records a call.
    ///
    /// # Errors
    /// The rate limit rejects the call.
    fn accept(&mut self, method: &'static str, pod: Option<String>) -> Result<(), Status> {
        self.calls.push(Call { method, pod });
        if self.faults.rate_limited == 0 {
            return Ok(());
        }
        if self.faults.rate_limited < usize::MAX {
            self.faults.rate_limited -= 1;
        }
        Err(Status::resource_exhausted("rejected by rate limit"))
    }

    pub(crate) fn get(
        &mut self,
        request: &GetPodResourcesRequest,
    ) -> Result<GetPodResourcesResponse, Status> {
        let (namespace, name) = (&request.pod_namespace, &request.pod_name);
        self.accept("Get", Some(format!("{namespace}/{name}")))?;
        match self.faults.get {
            GetSupport::Implemented => {}
            GetSupport::Unimplemented => {
                return Err(Status::unimplemented("unknown method Get for service"));
            }
            GetSupport::Disabled => {
                return Err(Status::unknown("PodResources API Get method disabled"));
            }
        }
        let pod = self.pods.iter().find(|pod| pod.is_called(namespace, name));
        let pod = pod.ok_or_else(|| {
            Status::unknown(format!("pod {name} in namespace {namespace} not found"))
        })?;
        Ok(GetPodResourcesResponse {
            pod_resources: Some(pod.message()),
        })
    }

    pub(crate) fn list(&mut self) -> Result<ListPodResourcesResponse, Status> {
        self.accept("List", None)?;
        let mut response = ListPodResourcesResponse {
            pod_resources: self.pods.iter().map(Pod::message).collect(),
        };
        let missing = self.faults.list_size.saturating_sub(response.encoded_len());
        let padding = PodResources {
            name: "other".to_owned(),
            namespace: "other".to_owned(),
            containers: vec![ContainerResources {
                name: "c".repeat(PADDING),
                ..ContainerResources::default()
            }],
        };
        let count = missing.div_ceil(PADDING);
        response
            .pod_resources
            .splice(0..0, std::iter::repeat_n(padding, count));
        Ok(response)
    }

    pub(crate) fn allocatable(&mut self) -> Result<AllocatableResourcesResponse, Status> {
        self.accept("GetAllocatableResources", None)?;
        let devices = self.devices.as_ref().ok_or_else(|| {
            Status::unimplemented("unknown method GetAllocatableResources for service")
        })?;
        Ok(AllocatableResourcesResponse {
            devices: devices.iter().flat_map(Device::messages).collect(),
            ..AllocatableResourcesResponse::default()
        })
    }
}
