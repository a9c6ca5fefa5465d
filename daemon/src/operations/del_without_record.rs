//! DEL without a record: best effort from what is known.

use std::collections::BTreeSet;

use plexus_api::cni::CniError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::request::CniRequest;
use super::time_shares::Shares;
use crate::context::Context;
use crate::delegate::Priority;
use crate::gather;
use crate::ledger::ContainerLock;
use crate::model::{Attachment, Pod, PodRef};
use crate::plan::plan;

/// Decision 26: rebuilds the attachments from the known pod of that UID, else from the default network alone, and
/// deletes them, but for what another record of the container has. Errors are only logged: there is no record to
/// keep (P-088).
pub(super) async fn delete_without_record(
    context: &Context,
    request: &CniRequest,
    lock: &ContainerLock,
) {
    let attachments = match rebuild(context, request).await {
        Ok(mut attachments) => {
            let others = recorded_interfaces(context, lock);
            attachments.retain(|attachment| !others.contains(&attachment.ifname));
            attachments
        }
        Err(error) => {
            tracing::info!(%error, "DEL of an unknown container: nothing is known to delete");
            return;
        }
    };
    let _guard = context
        .node
        .delegates
        .attach_guard(Priority::Del, &request.subject(), &attachments)
        .await;
    let mut shares = Shares::of(request.settings.del_timeout, attachments.len());
    for attachment in attachments.iter().rev() {
        let Some(deadline) = shares.next() else {
            tracing::warn!(
                network = attachment.network,
                "DEL of an unknown container: no time is left"
            );
            continue;
        };
        let call = request.plugin_call(deadline - Instant::now(), CancellationToken::new());
        if let Err(error) = context.node.delegates.del(&call, attachment, None).await {
            tracing::warn!(network = attachment.network, %error, "DEL of an unknown container");
        }
    }
}

/// The interfaces that the records of a container have: its ADD under another name made them, and they stay.
fn recorded_interfaces(context: &Context, lock: &ContainerLock) -> BTreeSet<String> {
    let ifnames = lock.interfaces().unwrap_or_default();
    let records = ifnames
        .iter()
        .filter_map(|ifname| context.ledger.read(lock.container_id(), ifname).ok()?);
    records
        .flat_map(|record| record.planned.attachments)
        .map(|attachment| attachment.ifname)
        .collect()
}

async fn rebuild(context: &Context, request: &CniRequest) -> Result<Vec<Attachment>, CniError> {
    let mut pod_request = request.pod_request()?;
    let PodRef {
        namespace,
        name,
        uid,
        ..
    } = &request.pod;
    // Without a UID in the call, a pod that has one may be another.
    let same = |pod: &Pod| pod.answers_to(uid) && (pod.uid.is_empty() || !uid.is_empty());
    if !pod_request.has_annotations()
        && !context
            .node
            .store
            .pod(namespace, name)
            .is_some_and(|pod| same(&pod))
    {
        // Another pod of that name, or none: its annotations are not this sandbox's (P-019).
        pod_request = pod_request.without_annotations();
    }
    let now = Instant::now();
    let snapshot = gather::snapshot(
        &context.node.store,
        None,
        &context.node.default_network,
        &request.settings,
        &pod_request,
        BTreeSet::new(),
        now,
    )
    .await?;
    Ok(plan(&snapshot)?.attachments)
}
