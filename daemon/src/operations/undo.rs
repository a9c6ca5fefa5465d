//! Undo: DEL for each attachment that a record lists as started, in reverse order. Rollback, DEL,
//! GC and recovery all use it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use tokio_util::sync::CancellationToken;

use super::delete_otherwise::{Otherwise, delete_otherwise};
use super::network_status::{pod_sandbox, status_content};
use super::time_shares::TimeShares;
use crate::call_limits::CallLimits;
use crate::clock::unix_ms;
use crate::context::Context;
use crate::delegate::{DelError, GuardScope, PluginCall, Priority};
use crate::device_info::{self, DeviceInfoError};
use crate::host::Host;
use crate::ledger::{ContainerLock, LedgerError, Line, Record};
use crate::netns::Netns;
use crate::report::events::EventReason;

/// The arguments of the plugin runs, as far as they are not in the record.
#[derive(Debug)]
pub(crate) struct UndoArgs {
    /// The host that runs the plugins.
    pub(crate) host: Host,
    /// `CNI_NETNS`. `None` if the namespace is gone, or if the path may lead to another one.
    pub(crate) netns: Option<String>,
    /// The runtime's `CNI_PATH`. If empty, the recorded path is used.
    pub(crate) path: Vec<PathBuf>,
    /// The environment of the caller, which plugins get. If it has no `PATH`, plugins get the
    /// recorded one.
    pub(crate) env: BTreeMap<String, String>,
    /// Whether the sandbox is proved to be gone (decision 23).
    pub(crate) sandbox_gone: bool,
}

/// The errors of the attachments that could not be deleted.
#[derive(Debug)]
pub(crate) struct Failures(pub(crate) Vec<CniError>);

/// The largest number of errors that are listed.
const MAX_LISTED: usize = 5;
/// The longest text of a listed error, in characters.
const MAX_TEXT: usize = 400;

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&joined(self.0.iter().map(ToString::to_string)))
    }
}

/// The first errors, shortened, and the number of the others. The text is written to the record and
/// to the log with each retry, and there may be an error for each of thousands of records. Equal
/// errors are listed once.
fn joined(texts: impl Iterator<Item = String>) -> String {
    let (mut listed, mut others): (Vec<String>, usize) = (Vec::new(), 0);
    for text in texts {
        let mut short: String = text.chars().take(MAX_TEXT).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        if listed.len() < MAX_LISTED && !listed.contains(&short) {
            listed.push(short);
        } else {
            others += 1;
        }
    }
    if others > 0 {
        listed.push(format!("and {others} more errors"));
    }
    listed.join("; ")
}

impl From<Failures> for CniError {
    /// A single error stays as it is. Several are joined, with the code of the first.
    fn from(Failures(mut failures): Failures) -> Self {
        if failures.len() == 1 {
            return failures.remove(0);
        }
        let text = joined(failures.iter().map(|error| error.msg.clone()));
        let code = failures
            .first()
            .map_or(Code::Internal as u32, |error| error.code);
        Self {
            code,
            ..Self::new(Code::Internal, text)
        }
    }
}

/// The recorded path of the sandbox, if the path still leads to the recorded namespace. Otherwise
/// the path may belong to another sandbox by now.
pub(crate) async fn recorded_netns(
    context: &Context,
    record: &Record,
    host: &Host,
) -> Option<String> {
    let planned = &record.planned;
    let path = Some(&planned.netns)
        .filter(|path| !path.is_empty() && planned.boot_id == context.node.boot_id)?;
    let netns = Netns::open(Path::new(path), host).await.ok()?;
    planned
        .netns_id
        .is_some_and(|id| id.may_equal(netns.id()))
        .then(|| path.clone())
}

/// Waits until the plugins of a record may run, and deletes its attachments; see [`undo`].
pub(super) async fn undo_within(
    context: &Context,
    lock: &ContainerLock,
    mut record: Record,
    args: UndoArgs,
    limits: &CallLimits,
) -> Result<(), Failures> {
    let scope = GuardScope::new(&record.planned.pod, &record.planned.attachments);
    let delegates = &context.node.delegates;
    match delegates.attach_guard(Priority::Del, &scope, limits).await {
        Ok(_guard) => undo(context, lock, record, args, limits.remaining()).await,
        Err(error) => Err(record_failures(lock, &mut record, vec![error.into()])),
    }
}

/// Deletes the attachments that `record` lists as started, the last one first. A failure does not
/// stop the others (P-091). The record is removed if all are deleted; otherwise it keeps the failed
/// ones (P-092).
///
/// `time` is the limit for all attachments; see [`TimeShares`].
pub(crate) async fn undo(
    context: &Context,
    lock: &ContainerLock,
    mut record: Record,
    args: UndoArgs,
    time: Duration,
) -> Result<(), Failures> {
    let results: Vec<_> = record
        .current()
        .filter_map(|(index, _)| Some((index, record.result_for_del(index)?)))
        .collect();
    let content = status_content(
        &record,
        results.iter().map(|(index, result)| (*index, result)),
    );
    let written = record.status_written;
    let sandbox = pod_sandbox(&record.planned);
    context
        .reporter
        .remove_network_status(sandbox, &content, written)
        .await;
    let indexes = record.to_undo(&context.node.boot_id);
    if !indexes.is_empty() && !record.deleting {
        append_or_log(lock, &mut record, Line::Deleting);
    }
    let detached = detach(context, lock, &mut record, &indexes, &args, time).await;
    // Last: the record is kept as long as a file is left (D-018).
    let Detached {
        mut failures,
        mut refused,
    } = detached;
    if let Err(error) = device_info::remove(&args.host, &record.planned.attachments).await {
        failures.push(device_info_left(&error));
        refused = false;
    }
    if failures.is_empty() {
        return remove(lock, record);
    }
    let failures = record_failures(lock, &mut record, failures);
    if refused {
        let unix_ms = unix_ms();
        append_or_log(lock, &mut record, Line::Refused { unix_ms });
    }
    Err(failures)
}

/// What is left after the DEL of some attachments.
pub(super) struct Detached {
    /// The errors of the attachments that are not deleted.
    pub(super) failures: Vec<CniError>,
    /// Whether each failure is one that retries cannot change (decision 31).
    refused: bool,
}

/// Deletes the attachments at `indexes`, in this order. A failure does not stop the others (P-091).
/// `time` is the limit for all of them; see [`TimeShares`].
pub(super) async fn detach(
    context: &Context,
    lock: &ContainerLock,
    record: &mut Record,
    indexes: &[usize],
    args: &UndoArgs,
    time: Duration,
) -> Detached {
    let mut detached = Detached {
        failures: Vec::new(),
        refused: true,
    };
    let path = if args.path.is_empty() {
        record.planned.cni_path.clone()
    } else {
        args.path.clone()
    };
    let mut env = args.env.clone();
    if let Some(path) = &record.planned.executable_path {
        env.entry("PATH".to_owned()).or_insert_with(|| path.clone());
    }
    let mut shares = TimeShares::new(time, indexes.len());
    for &index in indexes {
        let label = record.planned.attachments[index].label();
        let Some(deadline) = shares.next() else {
            let msg = "the other attachments have used up delTimeout";
            let error = CniError::new(Code::TryAgain, msg).context(label);
            detached.failures.push(error);
            detached.refused = false;
            continue;
        };
        let call = PluginCall {
            host: args.host.clone(),
            container_id: record.planned.container_id.clone(),
            netns: args.netns.clone(),
            path: path.clone(),
            env: env.clone(),
            limits: CallLimits {
                call: String::new(),
                deadline,
                // DEL runs to its end, even if the caller is gone (decision 15).
                cancel: CancellationToken::new(),
            },
        };
        match delete(context, &call, record, index, args.sandbox_gone).await {
            Ok(()) => append_or_log(lock, record, Line::Deleted { index }),
            Err(failed) => {
                detached.refused &= failed.refused;
                detached.failures.push(failed.error.context(label));
            }
        }
    }
    detached
}

pub(super) fn device_info_left(error: &DeviceInfoError) -> CniError {
    let msg = format!("cannot remove the device-info file {error}");
    CniError::new(Code::TryAgain, msg)
}

/// Removes the record after the last DEL.
fn remove(lock: &ContainerLock, record: Record) -> Result<(), Failures> {
    match lock.remove(record) {
        // Everything is deleted. Recovery repeats the DELs when the disk is writable again.
        Err(error) if error.is_unwritable() => {
            tracing::error!(%error, "the record of a finished DEL cannot be removed");
            Ok(())
        }
        removed => removed.map_err(|error| Failures(vec![error.into()])),
    }
}

/// DEL of one attachment. `refused` in the error means that retries cannot change the outcome
/// (decision 31).
async fn delete(
    context: &Context,
    call: &PluginCall,
    record: &Record,
    index: usize,
    sandbox_gone: bool,
) -> Result<(), DelError> {
    let attachment = &record.planned.attachments[index];
    let previous = record.result_for_del(index);
    let delegates = &context.node.delegates;
    let Err(failed) = delegates.del(call, attachment, previous.as_ref()).await else {
        return Ok(());
    };
    // Otherwise a part of the attachment may be left in the kernel.
    let is_unused = sandbox_gone && record.never_added(index);
    let otherwise = if is_unused && failed.ran {
        delete_otherwise(context, call, &record.planned.pod, attachment).await
    } else {
        Otherwise::Unfinished
    };
    match otherwise {
        Otherwise::Deleted => Ok(()),
        Otherwise::Refused => Err(failed),
        Otherwise::Unfinished => Err(DelError {
            refused: false,
            ..failed
        }),
    }
}

/// Records that a DEL has failed, so that recovery retries it.
fn record_failures(lock: &ContainerLock, record: &mut Record, failures: Vec<CniError>) -> Failures {
    let failures = Failures(failures);
    let line = record.failed_del(unix_ms(), failures.to_string());
    append_or_log(lock, record, line);
    failures
}

/// Marks a record as orphaned, with an event, unless it is already.
///
/// # Errors
/// [`LedgerError::Io`].
pub(crate) fn mark_orphaned(
    context: &Context,
    lock: &ContainerLock,
    record: &mut Record,
    failures: &Failures,
) -> Result<(), LedgerError> {
    if record.orphaned {
        return Ok(());
    }
    lock.append(record, Line::Orphaned)?;
    let message = format!(
        "{failures}; the pod may end, and plexusd keeps retrying: `plexusd ledger list` on the node shows what is left"
    );
    let pod = &record.planned.pod;
    context
        .reporter
        .event(pod, EventReason::DetachOrphaned, message);
    Ok(())
}

/// Appends a line. A failure is only logged: on a full disk, DEL must continue, or the disk would
/// stay full. A step without its line is repeated later, which does no harm.
pub(super) fn append_or_log(lock: &ContainerLock, record: &mut Record, line: Line) {
    if let Err(error) = lock.append(record, line) {
        tracing::error!(%error, "the ledger cannot record a step of DEL");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_many_failures_is_bounded() {
        let failures = |count: usize| {
            let error =
                |index| CniError::new(Code::TryAgain, format!("{index} {}", "x".repeat(9_000)));
            Failures((0..count).map(error).collect())
        };
        let text = failures(1000).to_string();
        assert!(
            text.len() < 3000 && text.ends_with("and 995 more errors"),
            "{text}"
        );
        let error = CniError::from(failures(1000));
        assert!(
            error.is(Code::TryAgain) && error.msg.len() < 3000,
            "{error}"
        );
        let same = || CniError::new(Code::TryAgain, "same");
        let equal = CniError::from(Failures(vec![same(), same(), same()]));
        assert_eq!(equal.msg, "same; and 2 more errors");
    }
}
