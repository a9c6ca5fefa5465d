//! Changes of the attachments of a sandbox that stays attached: detaching, attaching, network-status.
//!
//! Each step is in the record before its plugin runs, so that a DEL, or the next plexusd, finds
//! everything that may exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use plexus_api::cni::{CniError, Code, PluginResult};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::add::caller_gone;
use super::attach::Attach;
use super::network_status::{
    pod_sandbox, record_when_written, recorded_results, render_recorded, status_content,
};
use super::record_lock::lock_with_guard;
use super::undo::{Detached, UndoArgs, append_or_log, detach, device_info_left};
use crate::call_limits::CallLimits;
use crate::context::Context;
use crate::delegate::{GuardScope, PluginCall, Priority};
use crate::device_info;
use crate::host::Host;
use crate::ledger::{ContainerLock, LedgerError, Line, Record, RecordKey};
use crate::model::{Attachment, Origin};
use crate::netns::Netns;

/// A change of a sandbox, under the lock of its container and a guard for its plugins.
pub(crate) struct Change<'a> {
    context: &'a Context,
    lock: &'a ContainerLock,
    record: Record,
    netns: Netns,
    args: UndoArgs,
    /// Whether network-status has to be written.
    reports: bool,
    /// The limits of the request that asks for the change.
    limits: Option<CallLimits>,
}

impl<'a> Change<'a> {
    /// Begins a change, with plugins on `host`. Returns `None` if the sandbox is not attached, or if
    /// its network namespace is gone: recovery or a DEL then deletes all of it.
    ///
    /// # Errors
    /// The record has lines that cannot be read, or the network namespace cannot be opened.
    pub(crate) async fn begin(
        context: &'a Context,
        lock: &'a ContainerLock,
        record: Record,
        host: Host,
    ) -> Result<Option<Self>, CniError> {
        let planned = &record.planned;
        if !record.is_attached() || planned.boot_id != context.node.boot_id {
            return Ok(None);
        }
        // The change would lose these lines.
        if record.unreadable > 0 {
            let msg = format!(
                "{} lines of the sandbox's record cannot be read by this plexusd; upgrade it, or create the pod again",
                record.unreadable
            );
            return Err(CniError::new(Code::Ledger, msg));
        }
        let netns = match Netns::open(Path::new(&planned.netns), &host).await {
            Err(error) if error.is_missing() => return Ok(None),
            netns => netns?,
        };
        // Otherwise the path belongs to another sandbox by now.
        if !planned.netns_id.is_some_and(|id| id.may_equal(netns.id())) {
            return Ok(None);
        }
        let args = UndoArgs {
            host,
            netns: Some(planned.netns.clone()),
            path: Vec::new(),
            env: BTreeMap::new(),
            sandbox_gone: false,
        };
        Ok(Some(Self {
            context,
            lock,
            record,
            netns,
            args,
            reports: false,
            limits: None,
        }))
    }

    /// Makes this the change that a program asks for within `limits`. An ADD is undone if the program
    /// disconnects, and network-status is left to the program.
    pub(crate) fn for_program(self, limits: CallLimits) -> Self {
        Self {
            limits: Some(limits),
            ..self
        }
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the namespace at `path` is that of the sandbox.
    ///
    /// # Errors
    /// The namespace at `path` cannot be opened.
    pub(crate) async fn is_netns(&self, path: &Path) -> Result<bool, CniError> {
        let netns = Netns::open(path, &self.args.host).await?;
        Ok(netns.id().may_equal(self.netns.id()))
    }

    /// The names of the sandbox's links.
    ///
    /// # Errors
    /// The network namespace cannot be read.
    pub(crate) async fn links(&mut self) -> Result<BTreeSet<String>, CniError> {
        Ok(self.netns.names().await?)
    }

    /// Detaches what an interrupted change has left behind. Returns the errors.
    pub(crate) async fn clean_up(&mut self) -> Vec<CniError> {
        let states = self.record.attachments.iter().enumerate();
        let deleted = states.filter_map(|(index, state)| state.deleted.then_some(index));
        self.outdate_status(&deleted.collect::<Vec<_>>());
        self.reports |= self.limits.is_none() && !self.record.status_written;
        self.detach(&self.record.unfinished_changes()).await
    }

    /// Detaches the attachments at `indexes`, in this order, with an event for each. A failure does not
    /// stop the others. Returns the errors; the DEL of these attachments is repeated later.
    pub(crate) async fn detach(&mut self, indexes: &[usize]) -> Vec<CniError> {
        let (removed, failures) = self.remove(indexes).await;
        let planned = &self.record.planned;
        for index in removed {
            // Otherwise the interface was never reported.
            if self.record.attachments[index].added.is_some() {
                let (pod, attachment) = (&planned.pod, &planned.attachments[index]);
                let reporter = &self.context.reporter;
                reporter.removed_interface(pod, attachment);
            }
        }
        failures
    }

    /// See [`Change::detach`]. Returns the indexes of the attachments whose DEL has succeeded, and the
    /// errors.
    async fn remove(&mut self, indexes: &[usize]) -> (Vec<usize>, Vec<CniError>) {
        let (mut started, mut unrecorded) = (Vec::new(), Vec::new());
        for &index in indexes {
            let state = &self.record.attachments[index];
            if !state.started {
                append_or_log(self.lock, &mut self.record, Line::Deleted { index });
                continue;
            }
            let recorded = if state.detaching {
                Ok(())
            } else {
                self.lock
                    .append(&mut self.record, Line::Detaching { index })
            };
            match recorded {
                Ok(()) => started.push(index),
                // The attachment would be gone from the pod, but not from the record.
                Err(error) => unrecorded.push(CniError::from(error)),
            }
        }
        let time = self.context.node.settings.del_timeout;
        let (context, lock, args) = (self.context, self.lock, &self.args);
        let detached = detach(context, lock, &mut self.record, &started, args, time);
        let Detached { mut failures, .. } = detached.await;
        failures.extend(unrecorded);
        started.retain(|index| self.record.attachments[*index].deleted);
        self.outdate_status(&started);
        let planned = &self.record.planned;
        let attachments = started.iter().map(|index| &planned.attachments[*index]);
        if let Err(error) = device_info::remove(&self.args.host, attachments).await {
            failures.push(device_info_left(&error));
        }
        (started, failures)
    }

    /// Checks that the plugins of an attachment are installed.
    ///
    /// # Errors
    /// The plugin that is missing, with network and interface.
    pub(crate) async fn check_installed(&self, attachment: &Attachment) -> Result<(), CniError> {
        let delegates = &self.context.node.delegates;
        let call = self.plugin_call();
        let installed = delegates.check_installed(&call, attachment);
        installed
            .await
            .map_err(|error| error.context(attachment.label()))
    }

    /// Attaches further networks, one after the other, each within `addTimeout`, as long as
    /// `is_wanted`. One that fails is undone and does not stop the others. Returns the results, in the
    /// same order.
    ///
    /// # Errors
    /// The ledger cannot record the attachments, and nothing has run.
    pub(crate) async fn attach(
        &mut self,
        attachments: Vec<Attachment>,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Vec<Result<PluginResult, CniError>>, LedgerError> {
        let count = attachments.len();
        self.reports |= self.limits.is_none();
        self.replace(attachments).await?;
        let mut results = Vec::new();
        let indexes = self.record.attachments.len() - count..self.record.attachments.len();
        for index in indexes {
            if is_wanted() {
                results.push(self.attach_one(index).await);
            } else {
                append_or_log(self.lock, &mut self.record, Line::Deleted { index });
            }
        }
        Ok(results)
    }

    async fn attach_one(&mut self, index: usize) -> Result<PluginResult, CniError> {
        let call = self.plugin_call();
        let attach = Attach {
            context: self.context,
            call: &call,
            netns: &mut self.netns,
            lock: self.lock,
            record: &mut self.record,
        };
        let error = match attach.run(index).await {
            Ok(_) if call.limits.cancel.is_cancelled() => caller_gone(),
            Ok(result) => {
                let planned = &self.record.planned;
                let attachment = &planned.attachments[index];
                let reporter = &self.context.reporter;
                reporter.added_interface(&planned.pod, attachment, &result);
                return Ok(result);
            }
            Err(error) => error,
        };
        if !self.record.attachments[index].deleted {
            // Recorded like any other removal, because a result may be recorded already.
            let (_, failures) = self.remove(&[index]).await;
            for failure in failures {
                tracing::warn!(
                    pod = %self.record.planned.pod, error = %failure,
                    "the rollback of an attachment is incomplete and is retried"
                );
            }
        }
        Err(error)
    }

    /// Ends the change: removes what is detached from the plan, and starts to write network-status if
    /// anything has changed.
    pub(crate) async fn finish(mut self) {
        if self.record.attachments.iter().any(|state| state.deleted)
            && let Err(error) = self.replace(Vec::new()).await
        {
            // The next change or round of recovery repeats the replacement.
            tracing::error!(%error, "the ledger cannot record a change of a running pod");
        }
        self.record_links().await;
        if !self.reports {
            return;
        }
        let Ok(results) = recorded_results(&self.record) else {
            return;
        };
        let results = results.iter().map(|(index, result)| (*index, result));
        let (context, planned) = (self.context, &self.record.planned);
        let content = status_content(&self.record, results);
        let write = context.reporter.write_network_status(
            pod_sandbox(planned),
            &content,
            render_recorded(context, planned),
            context.node.settings.status_wait,
            || context.ledger.is_newest(planned, &context.node.boot_id),
        );
        record_when_written(context, planned, write.await);
    }

    /// Replaces the plan by one without what is detached, and with `further` attachments.
    async fn replace(&mut self, further: Vec<Attachment>) -> Result<(), LedgerError> {
        let changed = self
            .lock
            .change(&mut self.record, further, self.reports)
            .await;
        if changed.is_err()
            && let Some(record) = self.lock.load(&self.record.planned.ifname)?
        {
            self.record = record;
        }
        changed
    }

    /// Takes note that attachments are detached. Entries of network-status about attachments of
    /// programs are left to these programs.
    fn outdate_status(&mut self, detached: &[usize]) {
        let attachments = &self.record.planned.attachments;
        let is_ours = |index: &usize| attachments[*index].origin != Origin::Delegate;
        self.reports |= self.limits.is_none() && detached.iter().any(is_ours);
    }

    /// Records which further interfaces are links of the sandbox, for CHECK (decision 28).
    async fn record_links(&mut self) {
        let Some(expected) = self.record.links.clone() else {
            return;
        };
        let (Ok(links), Ok(results)) = (self.netns.names().await, recorded_results(&self.record))
        else {
            return;
        };
        let attachments = &self.record.planned.attachments;
        let is_later = |index: usize| attachments[index].origin != Origin::Add;
        let names: BTreeSet<_> = results
            .iter()
            .flat_map(|(index, result)| {
                let interfaces = result.result().interfaces.iter();
                interfaces.map(move |interface| (*index, interface))
            })
            .filter(|(index, interface)| {
                let is_new_link = is_later(*index) && links.contains(&interface.name);
                !interface.sandbox.is_empty() && (expected.contains(&interface.name) || is_new_link)
            })
            .map(|(_, interface)| interface.name.clone())
            .collect();
        if names != expected {
            append_or_log(self.lock, &mut self.record, Line::Links { names });
        }
    }

    /// The arguments of plugins, which may run for `addTimeout` from now.
    pub(super) fn plugin_call(&self) -> PluginCall {
        let time = self.context.node.settings.add_timeout;
        let planned = &self.record.planned;
        let path = planned.executable_path.iter();
        PluginCall {
            host: self.args.host.clone(),
            container_id: planned.container_id.clone(),
            netns: self.args.netns.clone(),
            path: planned.cni_path.clone(),
            env: path.map(|path| ("PATH".to_owned(), path.clone())).collect(),
            limits: match &self.limits {
                Some(limits) => limits.within(time),
                // Plugins run to their end, also when this plexusd stops.
                None => CallLimits::new("", Instant::now(), time, CancellationToken::new()),
            },
        }
    }
}

/// Finishes the interrupted change of a record: detaches what it left behind, and writes
/// network-status. Returns false if that has failed, and true also if another call has the locks or
/// has finished the change.
pub(crate) async fn finish_change(context: &Context, key: &RecordKey, limits: &CallLimits) -> bool {
    let limits = limits.within(context.node.settings.del_timeout);
    let Ok(host) = context.node.hosts.for_cleanup() else {
        return true;
    };
    // The next round of recovery tries again.
    let Ok(Some(record)) = context.ledger.summary(key) else {
        return true;
    };
    let scope = GuardScope::new(&record.planned.pod, &record.planned.attachments);
    drop(record);
    let guards = lock_with_guard(context, Priority::Recovery, key, &scope, &limits);
    let Ok((lock, _guard, _memory)) = guards.await else {
        return true;
    };
    let Ok(Some(record)) = lock.load(&key.ifname) else {
        return true;
    };
    if !record.has_unfinished_change() {
        return true;
    }
    let pod = record.planned.pod.clone();
    let mut change = match Change::begin(context, &lock, record, host).await {
        Ok(Some(change)) => change,
        Ok(None) => return true,
        Err(error) => {
            tracing::warn!(%pod, %error, "an interrupted change of a running pod cannot be undone yet");
            return false;
        }
    };
    let errors = change.clean_up().await;
    for error in &errors {
        tracing::warn!(%pod, %error, "an interrupted change of a running pod cannot be undone yet");
    }
    change.finish().await;
    errors.is_empty()
}
