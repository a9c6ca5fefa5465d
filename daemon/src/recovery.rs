//! Background cleanup, at startup and every `recoveryInterval`: ADDs and DELs that did not finish,
//! DELs that failed, sandboxes that are gone, DELs in the spool, and network-status that is not
//! written yet.

mod audit;
mod change_retries;
mod cleanup;
mod gone_sandboxes;
mod inventory;
mod netns_scan;
mod procfs;
mod spooled;
pub(crate) mod surviving_plugins;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backoff::doubled;
use crate::call_limits::CallLimits;
use crate::clock::unix_ms;
use crate::context::Context;
use crate::install::UninstallMarker;
use crate::ledger::{DelFailures, RecordKey, SpooledRequest};
use crate::model::NetnsId;
use crate::operations::{finish_change, resume_status};
use crate::telemetry::ChangeFilter;
use audit::Audit;
use change_retries::ChangeRetries;
pub(crate) use cleanup::retry;
use cleanup::{CleanupReason, Leftover};
pub(crate) use gone_sandboxes::MassLoss;
use gone_sandboxes::{MissingSandboxes, RecordedSandbox};
use inventory::{FailureCauses, Inventory, KnownRecord};
pub(crate) use netns_scan::existing_netns;

/// The longest pause between two retries of a failing DEL.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Runs rounds of recovery until `stop` is cancelled, and then waits for the running tasks.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut recovery = Recovery {
        context,
        stop,
        missing: MissingSandboxes::new(),
        audit: Audit::default(),
        change_retries: ChangeRetries::default(),
        running: BTreeMap::new(),
        logged: ChangeFilter::default(),
    };
    while !recovery.stop.is_cancelled() {
        recovery.round().await;
        tokio::select! {
            () = tokio::time::sleep(recovery.context.node.settings.recovery_interval) => {}
            () = recovery.stop.cancelled() => {}
        }
    }
    for task in recovery.running.into_values() {
        let _ = task.await;
    }
}

struct Recovery {
    context: Arc<Context>,
    stop: CancellationToken,
    missing: MissingSandboxes,
    audit: Audit,
    change_retries: ChangeRetries,
    /// The tasks in progress. Each waits for the lock of its container, and a long wait must not
    /// delay the others.
    running: BTreeMap<TaskKey, JoinHandle<()>>,
    logged: ChangeFilter,
}

/// The subject of a task. At most one task runs for each subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum TaskKey {
    Record(RecordKey),
    Spooled(PathBuf),
    Audit,
}

impl Recovery {
    async fn round(&mut self) {
        self.running.retain(|_, task| !task.is_finished());
        let (ledger, boot_id) = (
            self.context.ledger.clone(),
            self.context.node.boot_id.clone(),
        );
        let inventory =
            tokio::task::spawn_blocking(move || Inventory::collect(&ledger, &boot_id)).await;
        match inventory
            .map_err(anyhow::Error::from)
            .and_then(|collected| Ok(collected?))
        {
            Ok(inventory) => self.process(inventory),
            Err(error) if self.logged.is_new(error.to_string()) => {
                tracing::error!(%error, "recovery round failed");
            }
            Err(_) => {}
        }
        self.logged.end_round();
    }

    fn process(&mut self, inventory: Inventory) {
        for error in inventory.unreadable {
            if self.logged.is_new(error.to_string()) {
                tracing::error!(%error, "recovery skips a file or directory that cannot be read");
            }
        }
        for key in inventory.damaged {
            let ledger = self.context.ledger.clone();
            let limits = CallLimits::background("recovery", self.stop.clone());
            self.spawn(TaskKey::Record(key.clone()), async move {
                cleanup::remove_damaged(&ledger, &key, &limits).await;
            });
        }
        self.log_failures(&inventory.causes);
        self.audit(&inventory.records);
        let sandboxes: Vec<_> = inventory
            .records
            .iter()
            .filter(|record| record.needs_proof())
            .map(|record| RecordedSandbox::new(record, self.is_pod_deleted(record)))
            .collect();
        let gone = self.gone_sandboxes(&sandboxes, inventory.existing_netns);
        let (mut leftovers, mut interrupted) = (Vec::new(), Vec::new());
        for record in inventory.records {
            let is_gone = gone.contains(&record.key) || record.is_proved_gone();
            let reason = CleanupReason::of(&record)
                .or_else(|| is_gone.then_some(CleanupReason::SandboxGone));
            if let Some(reason) = reason {
                if is_due(
                    &record.del_failures,
                    self.context.node.settings.recovery_interval,
                    unix_ms(),
                ) {
                    leftovers.push(Leftover::new(&record, reason, is_gone));
                }
            } else if record.has_unfinished_change {
                interrupted.push(record.key);
            } else if !record.status_written {
                let (context, key) = (self.context.clone(), record.key);
                let limits = CallLimits::background("recovery", self.stop.clone());
                self.spawn(TaskKey::Record(key.clone()), async move {
                    resume_status(&context, &key.container_id, &key.ifname, &limits).await;
                });
            }
        }
        self.finish_changes(interrupted);
        self.clean_up(leftovers, inventory.spooled);
    }

    /// Starts to finish the interrupted changes of running pods.
    fn finish_changes(&mut self, interrupted: Vec<RecordKey>) {
        self.change_retries.retain(&interrupted.iter().collect());
        let first_pause = self.context.node.settings.recovery_interval;
        for key in interrupted {
            if !self
                .change_retries
                .is_due(&key, first_pause, Instant::now())
            {
                continue;
            }
            let (context, retries) = (self.context.clone(), self.change_retries.clone());
            let limits = CallLimits::background("recovery", self.stop.clone());
            self.spawn(TaskKey::Record(key.clone()), async move {
                let finished = finish_change(&context, &key, &limits).await;
                retries.record(key, finished, Instant::now());
            });
        }
    }

    /// Starts the cleanup of records and the DELs of the spool.
    fn clean_up(&mut self, leftovers: Vec<Leftover>, spooled: Vec<SpooledRequest>) {
        let (records, dels) = (leftovers.len(), spooled.len());
        if records + dels == 0 {
            return;
        }
        let host = match self.context.node.hosts.for_cleanup() {
            Ok(host) => host,
            Err(error) => {
                if self.logged.is_new(error.to_string()) {
                    tracing::warn!(records, spooled = dels, %error, "recovery cannot run plugins yet");
                }
                return;
            }
        };
        for spooled in spooled {
            let key = TaskKey::Spooled(spooled.path().to_owned());
            self.spawn(
                key,
                spooled::serve(self.context.clone(), spooled, host.clone()),
            );
        }
        for leftover in leftovers {
            let (context, host, stop) = (self.context.clone(), host.clone(), self.stop.clone());
            self.spawn(TaskKey::Record(leftover.key().clone()), async move {
                // Logged, and recorded in the ledger.
                let _ = cleanup::clean_up(&context, leftover, host, &stop).await;
            });
        }
    }

    /// Logs how many records have a failing DEL: one line for each cause, when it appears and when
    /// the number changes.
    fn log_failures(&mut self, causes: &FailureCauses) {
        for (cause, records) in causes.iter() {
            if self.logged.is_new(format!("{records} {cause}")) {
                tracing::warn!(
                    records,
                    "recovery: DEL fails and will be retried: {cause}; `plexusd ledger list` shows the records"
                );
            }
        }
    }

    /// Whether the pod of a record is deleted according to the API server. A pod that is missing in
    /// the manifests may still exist.
    fn is_pod_deleted(&self, record: &KnownRecord) -> bool {
        self.context.node.api_reader.is_some() && self.context.node.store.pod_is_absent(&record.pod)
    }

    /// Looks for pods that run without their networks.
    fn audit(&mut self, records: &[KnownRecord]) {
        let context = self.context.clone();
        // Without an API server, or before its first list, the running pods are unknown.
        if context.node.api_reader.is_none() || !context.node.store.is_synced() {
            return;
        }
        // During an uninstall, new pods are meant to run without Plexus.
        if UninstallMarker::new(&context.node.settings.state_dir).is_set() {
            context.node.metrics.set_networks_missing(0);
            return;
        }
        let (due, without_networks) = self.audit.update(
            &context.node.store.pods(),
            records,
            context.node.settings.gone_gap,
            Instant::now(),
        );
        context.node.metrics.set_networks_missing(without_networks);
        if !due.is_empty() {
            let audit = self.audit.clone();
            self.spawn(TaskKey::Audit, audit.fetch(context, due));
        }
    }

    /// The keys of the sandboxes that are proved to be gone.
    fn gone_sandboxes(
        &mut self,
        sandboxes: &[RecordedSandbox],
        existing: std::io::Result<BTreeSet<NetnsId>>,
    ) -> BTreeSet<RecordKey> {
        // If the scan failed, all namespaces are assumed to exist: cleanup requires proof
        // (decision 23).
        let existing = existing.unwrap_or_else(|error| {
            if self.logged.is_new(error.to_string()) {
                tracing::error!(%error, "recovery cannot determine which sandboxes are gone");
            }
            sandboxes
                .iter()
                .filter_map(|sandbox| sandbox.netns)
                .collect()
        });
        let judgement = gone_sandboxes::judge(
            sandboxes,
            &self.context.node.boot_id,
            &existing,
            &self.missing,
            Instant::now(),
            self.context.node.settings.gone_gap,
        );
        let mass_loss = judgement.mass_loss;
        self.context
            .node
            .metrics
            .set_mass_loss(mass_loss.map_or(0, |mass_loss| mass_loss.missing));
        if let Some(mass_loss) = mass_loss
            && self.logged.is_new(mass_loss.to_string())
        {
            tracing::error!("recovery: {mass_loss}");
        }
        self.missing = judgement.missing;
        judgement.gone.into_iter().collect()
    }

    /// Starts a task unless one with this key is still running.
    fn spawn(&mut self, key: TaskKey, task: impl Future<Output = ()> + Send + 'static) {
        self.running
            .entry(key)
            .or_insert_with(|| tokio::spawn(task));
    }
}

/// Whether the pause after the last failure is over. The pause doubles with each failure. If the
/// last failure is in the future, the clock was set back, and the retry is due.
fn is_due(failures: &DelFailures, first_pause: Duration, now_unix_ms: u64) -> bool {
    let Some(doublings) = failures.count.checked_sub(1) else {
        return true;
    };
    let pause = doubled(first_pause, doublings, LONGEST_PAUSE);
    now_unix_ms
        .checked_sub(failures.last_unix_ms)
        .is_none_or(|since| Duration::from_millis(since) >= pause)
}

#[cfg(test)]
mod tests;
