//! Network-status writes that continue after their ADD. The ledger records the completion of a
//! write, so that unfinished writes are resumed after a restart.

use plexus_api::cni::PluginResult;
use tokio_util::sync::CancellationToken;

use super::record_lock::{RecordMemory, lock_for_record};
use crate::call_limits::CallLimits;
use crate::context::Context;
use crate::ledger::{ContainerLock, Ledger, Line, Planned, PreviousResultError, Record, RecordKey};
use crate::report::{
    PodSandbox, RenderStatus, StatusContent, StatusEntry, StatusWrite, render_status,
};

/// The sandbox of a record, for the reporter.
pub(super) fn pod_sandbox(planned: &Planned) -> PodSandbox {
    let Planned {
        pod,
        container_id,
        ifname,
        ..
    } = planned;
    PodSandbox {
        pod: pod.clone(),
        container_id: container_id.clone(),
        ifname: ifname.clone(),
    }
}

/// The network-status of a record with these results, for the reporter. The index of a result is that
/// of its attachment.
pub(super) fn status_content<'a>(
    record: &'a Record,
    results: impl Iterator<Item = (usize, &'a PluginResult)>,
) -> StatusContent<'a> {
    let entries: Vec<_> = results
        .map(|(index, result)| StatusEntry {
            attachment: &record.planned.attachments[index],
            result,
            device_info: record.attachments[index].device_info.as_deref(),
        })
        .collect();
    StatusContent {
        complete: entries.len() == record.current().count(),
        entries,
    }
}

/// The recorded results of the attachments that are a part of the sandbox.
///
/// # Errors
/// [`PreviousResultError`] if a result cannot be read.
pub(super) fn recorded_results(
    record: &Record,
) -> Result<Vec<(usize, PluginResult)>, PreviousResultError> {
    let added = record
        .current()
        .filter(|(index, _)| record.attachments[*index].added.is_some());
    added
        .map(|(index, _)| Ok((index, record.result_for_check(index)?)))
        .collect()
}

/// Renders the network-status of a record again, as long as the record is not changed.
pub(super) fn render_recorded(context: &Context, planned: &Planned) -> RenderStatus {
    let (ledger, memory) = (context.ledger.clone(), context.node.memory.clone());
    let (key, written) = (planned.key(), version(planned));
    let call = format!("network-status of pod {}", planned.pod);
    Box::new(move || {
        let (ledger, memory) = (ledger.clone(), memory.clone());
        let (key, call) = (key.clone(), call.clone());
        let render = async move {
            let limits = CallLimits::background(call, CancellationToken::new());
            let memory = RecordMemory::of(&ledger, &memory, &key, &limits).await;
            let _memory = memory.ok()?;
            let record = ledger.read(&key).ok()??;
            if version(&record.planned) != written {
                return None;
            }
            render(&record).ok()?
        };
        Box::pin(render)
    })
}

/// Whether a record has a network-status that is not written because it is too large for a pod.
pub(crate) fn is_status_too_large(record: &Record) -> bool {
    matches!(render(record), Ok(None))
}

/// The network-status of a record. `None` if it is too large for a pod.
fn render(record: &Record) -> Result<Option<String>, PreviousResultError> {
    let results = recorded_results(record)?;
    let results = results.iter().map(|(index, result)| (*index, result));
    Ok(render_status(&status_content(record, results)))
}

/// The creation time and the revision of a record: which sandbox and which change it is of.
fn version(planned: &Planned) -> (u64, u64) {
    (planned.created_unix_ms, planned.revision)
}

/// Continues a write in the background, and records its completion.
pub(super) fn record_when_written(context: &Context, planned: &Planned, write: StatusWrite) {
    tokio::spawn(record_completion(
        context.ledger.clone(),
        pod_sandbox(planned),
        version(planned),
        write,
    ));
}

/// Resumes a write that an earlier daemon did not finish.
pub(crate) async fn resume_status(
    context: &Context,
    container_id: &str,
    ifname: &str,
    limits: &CallLimits,
) {
    let key = RecordKey::new(container_id, ifname);
    let limits = limits.within(context.node.settings.del_timeout);
    // The next round of recovery tries again.
    let Ok((lock, _memory)) = lock_for_record(context, &key, &limits).await else {
        return;
    };
    let Ok(Some(mut record)) = lock.load(ifname) else {
        return;
    };
    if !record.is_attached() || record.status_written {
        return;
    }
    // Not left to the reporter, which may be busy with the status of the pod's newer sandbox.
    if !context
        .ledger
        .is_newest(&record.planned, &context.node.boot_id)
    {
        append_written(&lock, &mut record);
        return;
    }
    let planned = &record.planned;
    let Ok(results) = recorded_results(&record) else {
        return;
    };
    let overdue_after = context.node.settings.status_wait;
    let is_newest = || context.ledger.is_newest(planned, &context.node.boot_id);
    let results = results.iter().map(|(index, result)| (*index, result));
    let content = status_content(&record, results);
    let write = context.reporter.resume_network_status(
        pod_sandbox(planned),
        &content,
        render_recorded(context, planned),
        overdue_after,
        is_newest,
    );
    if let Some(write) = write.await {
        record_when_written(context, planned, write);
    }
}

/// Owns the write until its completion is recorded, so that no second write starts in between.
/// `written` is the [`version`] of the record.
async fn record_completion(
    ledger: Ledger,
    sandbox: PodSandbox,
    written: (u64, u64),
    mut write: StatusWrite,
) {
    if !write.done().await {
        return;
    }
    let call = format!("network-status of pod {}", sandbox.pod);
    let limits = CallLimits::background(call, CancellationToken::new());
    let Ok(lock) = ledger.lock_container(&sandbox.container_id, &limits).await else {
        return;
    };
    let Ok(Some(mut record)) = lock.load(&sandbox.ifname) else {
        return;
    };
    if version(&record.planned) != written || record.status_written {
        return;
    }
    append_written(&lock, &mut record);
}

fn append_written(lock: &ContainerLock, record: &mut Record) {
    if let Err(error) = lock.append(record, Line::StatusWritten) {
        let pod = &record.planned.pod;
        tracing::error!(%pod, %error, "the ledger cannot record that network-status is written");
    }
}
