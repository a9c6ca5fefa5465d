//! Best-effort DEL of a sandbox without a record.

use std::collections::BTreeSet;

use plexus_api::cni::CniError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::request::CniRequest;
use super::time_shares::TimeShares;
use crate::context::Context;
use crate::delegate::Priority;
use crate::gather;
use crate::ledger::{ContainerLock, RecordKey};
use crate::memory_budget::Reservation;
use crate::model::{Attachment, Pod, PodRef};
use crate::plan::plan;

/// Rebuilds the attachments from the cached pod with that UID, else from the default network only,
/// and deletes them, except for interfaces in other records of the container (decision 26). Errors
/// are only logged, because there is no record to keep (P-088).
pub(super) async fn delete_without_record(
    context: &Context,
    request: &CniRequest,
    lock: &ContainerLock,
) {
    let (attachments, _reservation) = match rebuild(context, request).await {
        Ok((mut attachments, reservation)) => {
            let recorded = recorded_interfaces(context, lock);
            attachments.retain(|attachment| !recorded.contains(&attachment.ifname));
            (attachments, reservation)
        }
        Err(error) => {
            tracing::info!(%error, "DEL of a container without a record: its attachments cannot be rebuilt");
            return;
        }
    };
    let _guard = context
        .node
        .delegates
        .attach_guard(Priority::Del, &request.subject(), &attachments)
        .await;
    let mut shares = TimeShares::new(request.settings.del_timeout, attachments.len());
    for attachment in attachments.iter().rev() {
        let Some(deadline) = shares.next() else {
            tracing::warn!(
                network = attachment.network,
                "DEL of a container without a record: delTimeout is used up"
            );
            continue;
        };
        let call = request.plugin_call(deadline - Instant::now(), CancellationToken::new());
        if let Err(error) = context.node.delegates.del(&call, attachment, None).await {
            tracing::warn!(network = attachment.network, %error, "DEL of a container without a record");
        }
    }
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

/// The attachments, and the reservation for their memory.
async fn rebuild(
    context: &Context,
    request: &CniRequest,
) -> Result<(Vec<Attachment>, Reservation), CniError> {
    let mut pod_request = request.pod_request()?;
    let PodRef {
        namespace,
        name,
        uid,
        ..
    } = &request.pod;
    // A call without a UID may be about an earlier pod of that name.
    let is_same_pod = |pod: &Pod| pod.matches_uid(uid) && (pod.uid.is_empty() || !uid.is_empty());
    if !pod_request.has_annotations()
        && !context
            .node
            .store
            .pod(namespace, name)
            .is_some_and(|pod| is_same_pod(&pod))
    {
        // The annotations of another pod are not those of this sandbox (P-019).
        pod_request = pod_request.without_annotations();
    }
    let sources = gather::Sources {
        store: &context.node.store,
        api: None,
        default_network: &context.node.default_network,
        memory: &context.node.memory,
    };
    let deadlines = gather::GatherDeadlines {
        lookup: Instant::now(),
        memory: Instant::now() + request.settings.del_timeout,
    };
    let settings = &request.settings;
    let (input, reservation) =
        gather::plan_input(sources, settings, pod_request, BTreeSet::new(), deadlines).await?;
    Ok((plan(&input)?.attachments, reservation))
}
