//! Cleanup of one record: DEL for the attachments that an ADD or a DEL left behind.

use std::collections::BTreeMap;

use plexus_api::cni::{CniError, Code};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::inventory::KnownRecord;
use crate::call_limits::CallLimits;
use crate::context::Context;
use crate::delegate::{GuardScope, Priority};
use crate::host::Host;
use crate::ledger::{ContainerLock, Ledger, LedgerError, Record, RecordKey};
use crate::operations::{
    Failures, RecordMemory, UndoArgs, lock_with_guard, mark_orphaned, recorded_netns, undo,
};
use crate::report::events::EventReason;

/// The reason why recovery cleans up a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CleanupReason {
    /// The ADD did not finish.
    UnfinishedAdd,
    /// A DEL or a rollback did not finish.
    UnfinishedDel,
    /// A DEL failed.
    FailedDel,
    /// The sandbox is gone, and the runtime sent no DEL.
    SandboxGone,
}

impl CleanupReason {
    /// The reason to clean up a record whether or not its sandbox still exists.
    pub(super) fn of(record: &KnownRecord) -> Option<Self> {
        if record.del_failures.count > 0 {
            Some(Self::FailedDel)
        } else if record.deleting {
            Some(Self::UnfinishedDel)
        } else if !record.completed {
            Some(Self::UnfinishedAdd)
        } else {
            None
        }
    }

    /// The value of the label `reason` in the metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::UnfinishedAdd => "unfinished_add",
            Self::UnfinishedDel => "unfinished_del",
            Self::FailedDel => "failed_del",
            Self::SandboxGone => "sandbox_gone",
        }
    }
}

/// A record to clean up, as a round of recovery found it.
#[derive(Debug)]
pub(super) struct Leftover {
    key: RecordKey,
    created_unix_ms: u64,
    reason: CleanupReason,
    /// Whether the sandbox is proved to be gone.
    sandbox_gone: bool,
}

impl Leftover {
    pub(super) fn new(record: &KnownRecord, reason: CleanupReason, sandbox_gone: bool) -> Self {
        Self {
            key: record.key.clone(),
            created_unix_ms: record.created_unix_ms,
            reason,
            sandbox_gone,
        }
    }

    pub(super) fn key(&self) -> &RecordKey {
        &self.key
    }

    /// Whether `record` still needs the cleanup: an ADD that was in flight may have finished since,
    /// and the key may have been reused for another sandbox.
    fn is_current(&self, record: &Record) -> bool {
        let still_due = match self.reason {
            CleanupReason::UnfinishedAdd => !record.completed,
            CleanupReason::UnfinishedDel => record.deleting,
            CleanupReason::FailedDel => record.del_failures.count > 0,
            CleanupReason::SandboxGone => true,
        };
        still_due && record.planned.created_unix_ms == self.created_unix_ms
    }
}

/// Retries the failed DEL of a record, without waiting for the end of its pause. Succeeds if the
/// record has been removed.
///
/// # Errors
/// The error of the DEL; [`Code::Ledger`] if no DEL of the record has failed.
pub(crate) async fn retry(context: &Context, key: &RecordKey) -> Result<(), CniError> {
    let Some(record) = context.ledger.summary(key)? else {
        return Ok(());
    };
    if record.del_failures.count == 0 {
        let msg = format!("no DEL of the record {key} has failed");
        return Err(CniError::new(Code::Ledger, msg));
    }
    let leftover = Leftover {
        key: key.clone(),
        created_unix_ms: record.planned.created_unix_ms,
        reason: CleanupReason::FailedDel,
        // A refusal is only recorded after the proof.
        sandbox_gone: record.refusals.count > 0,
    };
    let host = context.node.hosts.for_cleanup()?;
    Ok(clean_up(context, leftover, host, &CancellationToken::new()).await?)
}

/// Deletes the attachments of a record, with plugins on `host`, unless the record has changed since
/// recovery found it.
pub(super) async fn clean_up(
    context: &Context,
    leftover: Leftover,
    host: Host,
    stop: &CancellationToken,
) -> Result<(), Failures> {
    let reason = leftover.reason;
    let RecordKey {
        container_id,
        ifname,
    } = &leftover.key;
    // Whatever is not finished in this time is tried again by the next round.
    let time = context.node.settings.del_timeout;
    let limits = CallLimits::new("recovery", Instant::now(), time, stop.clone());
    let failed = |error: CniError| Failures(vec![error]);
    let reserved = RecordMemory::reserve(context, &leftover.key, &limits).await;
    let memory = reserved.map_err(|error| failed(error.into()))?;
    let Some(record) = current_record(context, &leftover).map_err(failed)? else {
        return Ok(());
    };
    let pod = record.planned.pod.clone();
    let limits = CallLimits {
        call: format!("recovery of pod {pod}"),
        ..limits
    };
    let scope = GuardScope::new(&pod, &record.planned.attachments);
    // Many records may wait at the same time.
    drop((record, memory));
    let guards = lock_with_guard(context, Priority::Recovery, &leftover.key, &scope, &limits);
    let (lock, _guard, _memory) = guards.await.map_err(|error| failed(error.into()))?;
    // The call that held the lock may have changed the record.
    let record = current_record(context, &leftover).map_err(failed)?;
    let Some(record) = record.filter(|_| !stop.is_cancelled()) else {
        return Ok(());
    };
    let netns = if leftover.sandbox_gone {
        None
    } else {
        recorded_netns(context, &record, &host).await
    };
    let args = UndoArgs {
        host,
        netns,
        path: Vec::new(),
        env: BTreeMap::new(),
        sandbox_gone: leftover.sandbox_gone,
    };
    let timeout = context.node.settings.del_timeout;
    let outcome = undo(context, &lock, record, args, timeout).await;
    context
        .node
        .metrics
        .cleaned_up(reason.as_str(), outcome.is_ok());
    let reason = reason.as_str();
    match &outcome {
        Ok(()) => tracing::info!(%pod, container_id, ifname, reason, "recovery: cleaned up"),
        // The next round logs all records whose DEL fails, one line for each cause.
        Err(failures) => {
            tracing::debug!(%pod, container_id, ifname, reason, %failures, "recovery: DEL failed");
            if let Err(error) = orphan_or_retire(context, &lock, ifname, failures) {
                tracing::error!(container_id, ifname, %error, "recovery: the record cannot be changed");
            }
        }
    }
    outcome
}

/// Orphans a record whose DEL keeps failing (decision 12), and retires one whose DEL can never
/// succeed (decision 31).
fn orphan_or_retire(
    context: &Context,
    lock: &ContainerLock,
    ifname: &str,
    failures: &Failures,
) -> Result<(), LedgerError> {
    let Some(mut record) = lock.load(ifname)? else {
        return Ok(());
    };
    let node = &context.node;
    if record.refusals.exhausted(node.settings.retire_after) {
        let pod = record.planned.pod.clone();
        let moved_to = lock.retire(record)?;
        let message = format!(
            "pod {pod}: {failures}; its ADD never succeeded and its sandbox is gone, so plexusd has stopped retrying \
             the DEL and keeps the record in {}",
            moved_to.parent().unwrap_or(&moved_to).display()
        );
        if node.api_reader.is_some() && node.store.pod_is_absent(&pod) {
            context
                .reporter
                .node_event(EventReason::DetachRetired, message);
        } else {
            context
                .reporter
                .event(&pod, EventReason::DetachRetired, message);
        }
    } else if record.del_failures.exhausted(node.settings.orphan_after) {
        mark_orphaned(context, lock, &mut record, failures)?;
    }
    Ok(())
}

/// The record, if it still needs the cleanup.
fn current_record(context: &Context, leftover: &Leftover) -> Result<Option<Record>, CniError> {
    let RecordKey {
        container_id,
        ifname,
    } = &leftover.key;
    match context.ledger.read(&leftover.key) {
        Ok(record) => Ok(record.filter(|record| leftover.is_current(record))),
        Err(error) => {
            tracing::error!(container_id, ifname, %error, "recovery: the record cannot be read");
            Err(error.into())
        }
    }
}

/// Removes a file of the ledger that does not contain a record (P-090): a plan whose writer was
/// killed before anything ran is deleted, any other file is moved to the quarantine.
pub(super) async fn remove_damaged(ledger: &Ledger, key: &RecordKey, limits: &CallLimits) {
    let RecordKey {
        container_id,
        ifname,
    } = key;
    let Ok(lock) = ledger.lock_container(container_id, limits).await else {
        return;
    };
    if let Err(error) = lock.load(ifname) {
        tracing::error!(
            container_id, ifname, %error,
            "recovery: a record is damaged; its interfaces and addresses may still exist"
        );
    }
}
