//! Best-effort DEL of a sandbox without a record.

use std::collections::BTreeSet;

use plexus_api::json::RawMap;

use super::request::CniRequest;
use super::time_shares::TimeShares;
use crate::call_limits::{CallLimits, WaitError};
use crate::context::Context;
use crate::delegate::{DelError, GuardScope, Priority};
use crate::device_info;
use crate::gather::{self, KnownNetworks, PodRequest};
use crate::ledger::{ContainerLock, RecordKey};
use crate::memory_budget::Reservation;
use crate::model::{Attachment, Pod, PodRef};
use crate::plan::{PlanInput, plan};

/// Rebuilds the attachments from the cached pod with that UID, else from the default network only,
/// and deletes them, except for interfaces in other records of the container (decision 26). Errors
/// of plugins are only logged, because there is no record to keep (P-088), and affect one network
/// each.
///
/// # Errors
/// The limits ended the wait for a permit, and nothing ran.
pub(super) async fn delete_without_record(
    context: &Context,
    request: &CniRequest,
    lock: &ContainerLock,
    limits: &CallLimits,
) -> Result<(), WaitError> {
    let (mut attachments, _reservation) = rebuild(context, request, limits).await;
    let recorded = recorded_interfaces(context, lock);
    attachments.retain(|attachment| !recorded.contains(&attachment.ifname));
    let scope = GuardScope::new(&request.pod, &attachments);
    let _guard = context
        .node
        .delegates
        .attach_guard(Priority::Del, &scope, limits)
        .await?;
    let mut shares = TimeShares::new(limits.remaining(), attachments.len());
    for attachment in attachments.iter().rev() {
        let Some(deadline) = shares.next() else {
            tracing::warn!(
                network = attachment.network,
                "DEL of a container without a record: delTimeout is used up"
            );
            continue;
        };
        let limits = CallLimits {
            deadline,
            ..limits.clone()
        };
        let call = request.plugin_call(limits);
        if let Err(DelError { error, .. }) =
            context.node.delegates.del(&call, attachment, None).await
        {
            tracing::warn!(network = attachment.network, %error, "DEL of a container without a record");
        }
    }
    if let Err(error) = device_info::remove(&request.host, &attachments).await {
        tracing::warn!(%error, "DEL of a container without a record: cannot remove a device-info file");
    }
    Ok(())
}

/// The interfaces in the records of the container. ADDs with another `CNI_IFNAME` created them, and
/// they stay.
fn recorded_interfaces(context: &Context, lock: &ContainerLock) -> BTreeSet<String> {
    let ifnames = lock.interfaces().unwrap_or_default();
    let records = ifnames.iter().filter_map(|ifname| {
        let key = RecordKey::new(lock.container_id(), ifname);
        context.ledger.summary(&key).ok()?
    });
    let mut interfaces = BTreeSet::new();
    for record in records {
        let attachments = record.planned.attachments.iter();
        interfaces.extend(attachments.map(|attachment| attachment.ifname.clone()));
    }
    interfaces
}

/// The attachments that the sandbox probably has, the default network's first. A network that is not
/// known, or that is refused, does not affect the others. Also returns the reservation for the
/// memory of the attachments.
async fn rebuild(
    context: &Context,
    request: &CniRequest,
    limits: &CallLimits,
) -> (Vec<Attachment>, Reservation) {
    let pod_request = pod_request(context, request);
    let sources = gather::Sources {
        api: None,
        ..context.node.sources(&request.host)
    };
    let KnownNetworks {
        default,
        others,
        auxiliary_chain,
        errors,
        reservation,
    } = gather::known_networks(sources, &request.settings, &pod_request, limits).await;
    for error in &errors {
        log_unknown(error);
    }
    let mut attachments: Vec<Attachment> = default.iter().find_map(plan_one).into_iter().collect();
    let others = others.iter().map(|input| (input, false));
    let auxiliary_chain = auxiliary_chain.iter().map(|input| (input, true));
    for (input, auxiliary) in others.chain(auxiliary_chain) {
        let Some(other) = plan_one(input) else {
            continue;
        };
        let is_taken = attachments
            .iter()
            .any(|attachment| attachment.ifname == other.ifname);
        if !is_taken {
            attachments.push(Attachment {
                default: false,
                auxiliary,
                ..other
            });
        }
    }
    (attachments, reservation)
}

/// The attachment to the only network of `input`. Returns `None` if the network is refused.
fn plan_one(input: &PlanInput) -> Option<Attachment> {
    plan(input)
        .inspect_err(|error| log_unknown(error))
        .ok()?
        .attachments
        .pop()
}

fn log_unknown(error: &dyn std::fmt::Display) {
    tracing::info!(%error, "DEL of a container without a record omits a network");
}

/// The pod of the call, without annotations unless they belong to this sandbox (P-019).
fn pod_request(context: &Context, request: &CniRequest) -> PodRequest {
    let pod_request = request.pod_request().unwrap_or_else(|error| {
        log_unknown(&error);
        PodRequest {
            ifname: request.env.ifname.clone(),
            container_id: request.env.container_id.clone(),
            cni_args: request.args.clone(),
            runtime_config: RawMap::new(),
            pod: request.pod.clone(),
        }
    });
    if pod_request.has_annotations() {
        return pod_request;
    }
    let PodRef {
        namespace,
        name,
        uid,
        ..
    } = &request.pod;
    // A call without a UID may be about an earlier pod of that name.
    let is_same_pod = |pod: &Pod| pod.matches_uid(uid) && (pod.uid.is_empty() || !uid.is_empty());
    let pod = context.node.store.pod(namespace, name);
    if pod.is_some_and(|pod| is_same_pod(&pod)) {
        pod_request
    } else {
        pod_request.without_annotations()
    }
}
