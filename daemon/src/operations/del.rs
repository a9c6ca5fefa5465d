//! DEL: detaches a sandbox as recorded, without the API server, the pod, or its definitions.

use plexus_api::cni::CniError;
use tokio_util::sync::CancellationToken;

use super::adopt::adopt;
use super::del_without_record::delete_without_record;
use super::record_lock::lock_for_record;
use super::request::CniRequest;
use super::undo::{Failures, UndoArgs, mark_orphaned, undo_within};
use crate::context::Context;
use crate::ledger::{ContainerLock, RecordKey};
use crate::report::events::EventReason;
use crate::telemetry;

/// Detaches a sandbox. Succeeds if nothing is attached (P-087).
pub(super) async fn del(context: &Context, request: &CniRequest) -> Result<(), CniError> {
    try_del(context, request)
        .await
        .map_err(|error| error.context(request.subject()).for_del())
}

async fn try_del(context: &Context, request: &CniRequest) -> Result<(), CniError> {
    let env = &request.env;
    // DEL runs to its end, even if the caller is gone (decision 15).
    let limits = request.limits(CancellationToken::new());
    let key = RecordKey::new(&env.container_id, &env.ifname);
    let (lock, _memory) = lock_for_record(context, &key, &limits).await?;
    let record = match lock.load(&env.ifname) {
        Ok(record) => record,
        Err(error) if error.is_quarantined() => {
            tracing::error!(%error, "the record cannot be read; DEL continues without the record");
            None
        }
        Err(error) => return Err(error.into()),
    };
    if let (Some(record), Some(at)) = (&record, &request.spooled_at)
        && record.planned.is_after(at, &context.node.boot_id)
    {
        tracing::info!(pod = %record.planned.pod, "this spooled DEL is older than the attachment, which stays");
        return Ok(());
    }
    // Checked before `recently_deleted`: as long as Multus' files exist, the ledger does not own
    // the sandbox yet.
    let record = match record {
        None => adopt(context, request, &lock).await?,
        record => record,
    };
    let Some(record) = record else {
        if !context.ledger.recently_deleted(&key) {
            delete_without_record(context, request, &lock, &limits).await?;
        }
        return Ok(());
    };
    telemetry::CallSpan::record_networks(&record.planned.networks());
    let args = UndoArgs {
        host: request.host.clone(),
        // The runtime's value, even if empty: the recorded path may belong to another sandbox by
        // now.
        netns: env.netns.clone(),
        path: env.path.clone(),
        env: request.plugin_env.clone(),
        sandbox_gone: false,
    };
    match undo_within(context, &lock, record, args, &limits).await {
        Ok(()) => Ok(()),
        Err(failures) => fail_or_orphan(context, request, &lock, failures),
    }
}

/// Returns the first failures to the runtime, which retries. After that, DEL succeeds, so that the
/// pod can end, and recovery retries with the record (decision 12). If all attachments are deleted
/// and only a device-info file is left, DEL succeeds at once.
fn fail_or_orphan(
    context: &Context,
    request: &CniRequest,
    lock: &ContainerLock,
    failures: Failures,
) -> Result<(), CniError> {
    let Some(mut record) = lock.load(&request.env.ifname)? else {
        return Err(failures.into());
    };
    let has_attachments = !record.to_undo(&context.node.boot_id).is_empty();
    if has_attachments && !record.del_failures.exhausted(request.settings.orphan_after) {
        context.reporter.event(
            &record.planned.pod,
            EventReason::DetachFailed,
            format!("{failures}; the runtime retries"),
        );
        return Err(failures.into());
    }
    Ok(mark_orphaned(context, lock, &mut record, &failures)?)
}
