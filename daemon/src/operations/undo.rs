//! The one undo: DEL for what a record says was started, in reverse. Rollback, DEL, GC and recovery all call it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use tokio_util::sync::CancellationToken;

use super::network_status::sandbox;
use super::time_shares::Shares;
use crate::clock::unix_ms;
use crate::context::Context;
use crate::delegate::PluginCall;
use crate::host::Host;
use crate::ledger::{ContainerLock, Line, Record};

/// What the plugins are called with, beside what the record has.
#[derive(Debug)]
pub(super) struct Undo {
    /// Where plugins run.
    pub(crate) host: Host,
    /// `CNI_NETNS`; none where the sandbox's namespace is gone or not to be trusted.
    pub(crate) netns: Option<String>,
    /// The runtime's `CNI_PATH`; the record's where it is empty.
    pub(crate) path: Vec<PathBuf>,
    /// Variables to hand on.
    pub(crate) env: BTreeMap<String, String>,
}

/// Which attachments could not be deleted, and why.
#[derive(Debug)]
pub(super) struct Failures(pub Vec<CniError>);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join("; "))
    }
}

impl From<Failures> for CniError {
    /// One error for all: the only one as it is, several joined under the code of the first.
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

/// Deletes what `record` says was started, the last first; one that fails does not stop the others (P-091). The
/// record goes when all of it is deleted, and keeps what failed otherwise (P-092).
///
/// `time` is shared; see [`Shares`].
pub(super) async fn undo(
    context: &Context,
    lock: &ContainerLock,
    mut record: Record,
    how: Undo,
    time: Duration,
) -> Result<(), Failures> {
    let mut failures = Vec::new();
    let attachments = &record.planned.attachments;
    let results: Vec<_> = (0..attachments.len())
        .map_while(|index| record.result_for_del(index))
        .collect();
    context
        .reporter
        .withdraw(
            sandbox(&record.planned),
            attachments,
            &results,
            record.status_written,
        )
        .await;
    let path = if how.path.is_empty() {
        record.planned.cni_path.clone()
    } else {
        how.path
    };
    let indexes = record.to_undo(&context.node.boot_id);
    if !indexes.is_empty() && !record.deleting {
        note(lock, &mut record, Line::Deleting);
    }
    let mut shares = Shares::of(time, indexes.len());
    for index in indexes {
        let attachment = record.planned.attachments[index].clone();
        let Some(deadline) = shares.next() else {
            let msg = format!(
                "the others have taken all of the {time:?} that a DEL may take (delTimeout)"
            );
            failures.push(CniError::new(Code::TryAgain, msg).context(attachment.place()));
            continue;
        };
        let call = PluginCall {
            host: how.host.clone(),
            container_id: record.planned.container_id.clone(),
            netns: how.netns.clone(),
            path: path.clone(),
            env: how.env.clone(),
            deadline,
            // DEL runs to its end, whoever has gone away (decision 15).
            cancel: CancellationToken::new(),
        };
        let previous = record.result_for_del(index);
        match context
            .node
            .delegates
            .del(&call, &attachment, previous.as_ref())
            .await
        {
            Ok(()) => note(lock, &mut record, Line::Deleted { index }),
            Err(error) => {
                failures.push(error.context(attachment.place()));
            }
        }
    }
    if failures.is_empty() {
        lock.remove(record)
            .map_err(|error| Failures(vec![error.into()]))
    } else {
        let error = Failures(failures);
        note(
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

/// Appends a line without which nothing is lost: where the file system is full, DEL must go on, or it would stay full.
/// What is not written is done once more.
fn note(lock: &ContainerLock, record: &mut Record, line: Line) {
    if let Err(error) = lock.append(record, line) {
        tracing::error!(%error, "the course of a DEL cannot be recorded");
    }
}
