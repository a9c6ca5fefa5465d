//! Undo: DEL for each attachment that a record lists as started, in reverse order. Rollback, DEL,
//! GC and recovery all use it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use tokio_util::sync::CancellationToken;

use super::network_status::pod_sandbox;
use super::time_shares::TimeShares;
use crate::clock::unix_ms;
use crate::context::Context;
use crate::delegate::PluginCall;
use crate::host::Host;
use crate::ledger::{ContainerLock, Line, Record};
use crate::netns::Netns;

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
}

/// The errors of the attachments that could not be deleted.
#[derive(Debug)]
pub(crate) struct Failures(pub(super) Vec<CniError>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

impl From<Failures> for CniError {
    /// A single error stays as it is. Several are joined, with the code of the first.
    fn from(Failures(mut failures): Failures) -> Self {
        if failures.len() == 1 {
            return failures.remove(0);
        }
        let text = failures
            .iter()
            .map(|error| error.msg.as_str())
            .collect::<Vec<_>>()
            .join("; ");
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
    let mut failures = Vec::new();
    let attachments = &record.planned.attachments;
    let results: Vec<_> = (0..attachments.len())
        .map_while(|index| record.result_for_del(index))
        .collect();
    context
        .reporter
        .remove_network_status(
            pod_sandbox(&record.planned),
            attachments,
            &results,
            record.status_written,
        )
        .await;
    let path = if args.path.is_empty() {
        record.planned.cni_path.clone()
    } else {
        args.path
    };
    let mut env = args.env;
    if let Some(path) = &record.planned.executable_path {
        env.entry("PATH".to_owned()).or_insert_with(|| path.clone());
    }
    let indexes = record.to_undo(&context.node.boot_id);
    if !indexes.is_empty() && !record.deleting {
        append_or_log(lock, &mut record, Line::Deleting);
    }
    let mut shares = TimeShares::new(time, indexes.len());
    for index in indexes {
        let attachment = record.planned.attachments[index].clone();
        let Some(deadline) = shares.next() else {
            let msg = format!("the other attachments have used up the {time:?} of delTimeout");
            failures.push(CniError::new(Code::TryAgain, msg).context(attachment.label()));
            continue;
        };
        let call = PluginCall {
            host: args.host.clone(),
            container_id: record.planned.container_id.clone(),
            netns: args.netns.clone(),
            path: path.clone(),
            env: env.clone(),
            deadline,
            // DEL runs to its end, even if the caller is gone (decision 15).
            cancel: CancellationToken::new(),
        };
        let previous = record.result_for_del(index);
        match context
            .node
            .delegates
            .del(&call, &attachment, previous.as_ref())
            .await
        {
            Ok(()) => append_or_log(lock, &mut record, Line::Deleted { index }),
            Err(error) => failures.push(error.context(attachment.label())),
        }
    }
    if failures.is_empty() {
        lock.remove(record)
            .map_err(|error| Failures(vec![error.into()]))
    } else {
        let error = Failures(failures);
        append_or_log(
            lock,
            &mut record,
            Line::DelFailed {
                unix_ms: unix_ms(),
                error: error.to_string(),
            },
        );
        Err(error)
    }
}

/// Appends a line. A failure is only logged: on a full disk, DEL must continue, or the disk would
/// stay full. A step without its line is repeated later, which does no harm.
fn append_or_log(lock: &ContainerLock, record: &mut Record, line: Line) {
    if let Err(error) = lock.append(record, line) {
        tracing::error!(%error, "the ledger cannot record a step of DEL");
    }
}
