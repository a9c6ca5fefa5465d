//! What nobody will ask for again: unfinished ADDs, DELs that were begun or failed, sandboxes that are gone, calls that
//! the shim left while the daemon was away, statuses that are not written. At start, and periodically.

mod audit;
pub(crate) mod evidence;
pub(crate) mod surviving_plugins;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexus_api::cni::{CniError, Code};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backoff::doubled;
use crate::clock::unix_ms;
use crate::context::Context;
use crate::ledger::{DelFailures, Key, Ledger, LedgerError, Record, Spooled};
use crate::model::NetnsId;
use crate::operations::{CleanupReason, Leftover, resume_status};
use crate::telemetry::ChangeFilter;
use audit::Audit;
use evidence::{Sandbox, Suspects, judge, living_netns};

/// The longest pause between two tries of a DEL that fails.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Looks for leftovers until `stop`; what it has begun by then runs to its end.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let mut recovery = Recovery {
        context,
        stop,
        suspects: Suspects::new(),
        audit: Audit::default(),
        running: BTreeMap::new(),
        logged: ChangeFilter::default(),
    };
    while !recovery.stop.is_cancelled() {
        recovery.look().await;
        tokio::select! {
            () = tokio::time::sleep(recovery.context.node.settings.recovery_interval) => {}
            () = recovery.stop.cancelled() => {}
        }
    }
    for job in recovery.running.into_values() {
        let _ = job.await;
    }
}

struct Recovery {
    context: Arc<Context>,
    stop: CancellationToken,
    suspects: Suspects,
    audit: Audit,
    /// What has been begun. A job waits for the lane of its container, and one that waits long must not keep the others.
    running: BTreeMap<Job, JoinHandle<()>>,
    logged: ChangeFilter,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Job {
    Record(Key),
    Spooled(PathBuf),
    Audit,
}

/// What there is to see.
struct Seen {
    records: Vec<Record>,
    /// The keys of files that have no record: torn, or damaged.
    illegible: Vec<Key>,
    /// Why other files cannot be read: they are left alone.
    closed: Vec<LedgerError>,
    spooled: Vec<Spooled>,
    living: std::io::Result<BTreeSet<NetnsId>>,
}

impl Recovery {
    async fn look(&mut self) {
        self.running.retain(|_, job| !job.is_finished());
        let (ledger, boot) = (
            self.context.ledger.clone(),
            self.context.node.boot_id.clone(),
        );
        let seen = tokio::task::spawn_blocking(move || see(&ledger, &boot)).await;
        match seen.unwrap_or_else(|panic| {
            Err(CniError::new(
                Code::Internal,
                format!("the look panicked: {panic}"),
            ))
        }) {
            Ok(seen) => self.act(seen),
            Err(error) if self.logged.is_new(error.to_string()) => {
                tracing::error!(%error, "recovery cannot look for leftovers");
            }
            Err(_) => {}
        }
        self.logged.end_round();
    }

    fn act(&mut self, seen: Seen) {
        for error in seen.closed {
            if self.logged.is_new(error.to_string()) {
                tracing::error!(%error, "recovery leaves a record alone that cannot be read");
            }
        }
        for key in seen.illegible {
            let context = self.context.clone();
            self.begin(Job::Record(key.clone()), async move {
                context.clear_illegible(&key.0, &key.1).await;
            });
        }
        self.tell_failures(&seen.records);
        self.audit(&seen.records);
        let attached = seen
            .records
            .iter()
            .filter(|record| asked_for(record).is_none());
        let attached: Vec<_> = attached
            .map(|record| Sandbox::new(record, self.pod_deleted(record)))
            .collect();
        let dead = self.judge(&attached, seen.living);
        let mut leftovers = Vec::new();
        for record in seen.records {
            let key = (
                record.planned.container_id.clone(),
                record.planned.ifname.clone(),
            );
            let dead = dead.contains(&key).then_some(CleanupReason::Dead);
            if let Some(reason) = asked_for(&record).or(dead) {
                if is_due(
                    &record.del_failures,
                    self.context.node.settings.recovery_interval,
                    unix_ms(),
                ) {
                    leftovers.push((key, Leftover::new(&record, reason)));
                }
            } else if !record.status_written {
                let context = self.context.clone();
                self.begin(Job::Record(key.clone()), async move {
                    resume_status(&context, &key.0, &key.1).await;
                });
            }
        }
        self.clean_up(leftovers, seen.spooled);
    }

    /// Begins to undo the records and to serve the DELs.
    fn clean_up(&mut self, leftovers: Vec<(Key, Leftover)>, spooled: Vec<Spooled>) {
        let (records, dels) = (leftovers.len(), spooled.len());
        if records + dels == 0 {
            return;
        }
        let host = match self.context.node.hosts.for_cleanup() {
            Ok(host) => host,
            Err(error) => {
                if self.logged.is_new(error.to_string()) {
                    tracing::warn!(records, spooled = dels, %error, "recovery: plugins cannot be run yet");
                }
                return;
            }
        };
        for spooled in spooled {
            let (context, host) = (self.context.clone(), host.clone());
            self.begin(Job::Spooled(spooled.path().to_owned()), async move {
                context.replay(spooled, host).await;
            });
        }
        for (key, leftover) in leftovers {
            let (context, host, stop) = (self.context.clone(), host.clone(), self.stop.clone());
            self.begin(Job::Record(key), async move {
                context.recover(leftover, host, &stop).await;
            });
        }
    }

    /// Says how many records wait for a DEL that succeeds: a line for each cause, when it comes and when the number
    /// changes.
    fn tell_failures(&mut self, records: &[Record]) {
        for (cause, records) in by_cause(records) {
            if self.logged.is_new(format!("{records} {cause}")) {
                tracing::warn!(
                    records,
                    "recovery: not yet: {cause}; `plexusd ledger list` shows which"
                );
            }
        }
    }

    /// Whether the API server says that the pod of a record is no more. A pod that the manifests lack may well be.
    fn pod_deleted(&self, record: &Record) -> bool {
        self.context.node.api_reader.is_some()
            && self.context.node.store.pod_is_absent(&record.planned.pod)
    }

    /// Looks for pods that run without their networks.
    fn audit(&mut self, records: &[Record]) {
        let context = self.context.clone();
        // Without an API server nobody says which pods run, and before the first list nobody knows them.
        if context.node.api_reader.is_none() || !context.node.store.is_synced() {
            return;
        }
        let (due, unmet) = self.audit.look(
            &context.node.store.pods(),
            records,
            context.node.settings.gone_gap,
            Instant::now(),
        );
        context.node.metrics.networks_missing(unmet);
        if !due.is_empty() {
            let audit = self.audit.clone();
            self.begin(Job::Audit, audit.ask(context, due));
        }
    }

    /// The keys of the sandboxes that are gone.
    fn judge(
        &mut self,
        sandboxes: &[Sandbox],
        living: std::io::Result<BTreeSet<NetnsId>>,
    ) -> BTreeSet<Key> {
        // Without sight of the namespaces, all of them count as living: only proof tears anything down (decision 23).
        let living = living.unwrap_or_else(|error| {
            if self.logged.is_new(error.to_string()) {
                tracing::error!(%error, "recovery cannot tell which sandboxes are gone");
            }
            sandboxes
                .iter()
                .filter_map(|sandbox| sandbox.netns)
                .collect()
        });
        let gap = self.context.node.settings.gone_gap;
        let judgement = judge(
            sandboxes,
            &self.context.node.boot_id,
            &living,
            &self.suspects,
            Instant::now(),
            gap,
        );
        self.context.node.metrics.disbelieved(
            judgement
                .disbelieved
                .map_or(0, |disbelieved| disbelieved.gone),
        );
        if let Some(disbelieved) = judgement
            .disbelieved
            .filter(|it| self.logged.is_new(it.to_string()))
        {
            tracing::error!("recovery: {disbelieved}");
        }
        self.suspects = judgement.suspects;
        judgement.dead.into_iter().collect()
    }

    fn begin(&mut self, job: Job, work: impl Future<Output = ()> + Send + 'static) {
        self.running
            .entry(job)
            .or_insert_with(|| tokio::spawn(work));
    }
}

/// Blocking.
fn see(ledger: &Ledger, boot: &str) -> Result<Seen, CniError> {
    let (mut records, mut illegible, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for key in ledger.keys()? {
        match ledger.read(&key.0, &key.1) {
            Ok(Some(record)) => records.push(record),
            Ok(None) | Err(LedgerError::Corrupt { .. }) => illegible.push(key),
            Err(error) => closed.push(error),
        }
    }
    let this_boot = records
        .iter()
        .filter(|record| record.planned.boot_id == boot && record.is_attached());
    let living = living_netns(
        &this_boot
            .filter_map(|record| record.planned.netns_id)
            .collect(),
    );
    Ok(Seen {
        records,
        illegible,
        closed,
        spooled: ledger.spooled()?,
        living,
    })
}

/// Why a record is to go whatever became of its sandbox.
fn asked_for(record: &Record) -> Option<CleanupReason> {
    if record.del_failures.count > 0 {
        Some(CleanupReason::Failed)
    } else if record.deleting {
        Some(CleanupReason::Begun)
    } else {
        (!record.completed).then_some(CleanupReason::Unfinished)
    }
}

/// How many records have a DEL that fails, by what it said last.
fn by_cause(records: &[Record]) -> BTreeMap<&str, usize> {
    let mut causes = BTreeMap::new();
    for record in records
        .iter()
        .filter(|record| record.del_failures.count > 0)
    {
        *causes
            .entry(record.del_failures.last_error.as_str())
            .or_default() += 1;
    }
    causes
}

/// Whether the pause after the last failure is over: it doubles with each. A failure that is yet to come was before the
/// clock was set back.
fn is_due(failures: &DelFailures, first: Duration, now_unix_ms: u64) -> bool {
    let Some(doublings) = failures.count.checked_sub(1) else {
        return true;
    };
    let pause = doubled(first, doublings, LONGEST_PAUSE);
    now_unix_ms
        .checked_sub(failures.last_unix_ms)
        .is_none_or(|since| Duration::from_millis(since) >= pause)
}

#[cfg(test)]
mod tests;
