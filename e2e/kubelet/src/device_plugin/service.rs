//! The service of a device plugin.

use std::sync::Arc;

use tonic::Status;

use super::DevicePlugin;
use super::message::{
    AllocateRequest, AllocateResponse, ContainerAllocateResponse, ContainerDevices,
    DevicePluginOptions, Empty, ListAndWatchResponse, PreferredAllocationRequest,
    PreferredAllocationResponse,
};
use crate::server::{HttpRequest, HttpResponse, stream, unary};

/// Kubelet calls every method.
pub(super) const OPTIONS: DevicePluginOptions = DevicePluginOptions {
    pre_start_required: true,
    get_preferred_allocation_available: true,
};

pub(super) async fn answer(plugin: Arc<DevicePlugin>, request: HttpRequest) -> HttpResponse {
    match request.uri().path().strip_prefix("/v1beta1.DevicePlugin/") {
        Some("GetDevicePluginOptions") => unary(request, |_: Empty| async { Ok(OPTIONS) }).await,
        Some("ListAndWatch") => {
            let devices = plugin.devices.clone();
            stream(request, ListAndWatchResponse { devices }).await
        }
        Some("GetPreferredAllocation") => {
            unary(request, |request| async { Ok(preferred(request)) }).await
        }
        Some("Allocate") => {
            unary(request, |request| async {
                Ok(allocate(&plugin.resource, request))
            })
            .await
        }
        Some("PreStartContainer") => {
            unary(request, |_: ContainerDevices| async { Ok(Empty {}) }).await
        }
        _ => Status::unimplemented("unknown method").into_http(),
    }
}

/// Prefers the last devices in reverse order, which is not the order of their IDs.
fn preferred(request: PreferredAllocationRequest) -> PreferredAllocationResponse {
    let containers = request.containers.into_iter().map(|mut request| {
        request
            .available
            .retain(|id| !request.must_include.contains(id));
        request
            .available
            .sort_unstable_by(|one, other| other.cmp(one));
        let mut ids = request.must_include;
        ids.append(&mut request.available);
        ids.truncate(usize::try_from(request.size).unwrap_or_default());
        ContainerDevices { ids }
    });
    PreferredAllocationResponse {
        containers: containers.collect(),
    }
}

/// Sets the variable that the SR-IOV network device plugin sets, as `ID,ID`.
fn allocate(resource: &str, request: AllocateRequest) -> AllocateResponse {
    let name = resource.replace(['.', '/', '-'], "_").to_uppercase();
    let containers = request.containers.into_iter().map(|container| {
        let ids = container.ids.join(",");
        println!("allocated {resource}: {ids}");
        ContainerAllocateResponse {
            envs: [(format!("PCIDEVICE_{name}"), ids)].into(),
        }
    });
    AllocateResponse {
        containers: containers.collect(),
    }
}
