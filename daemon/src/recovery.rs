//! What nobody will ask for again: unfinished ADDs, DELs that were begun or failed, sandboxes that are gone, calls that
//! the shim left while the daemon was away, statuses that are not written. At start, and periodically.

mod audit;
pub mod evidence;
pub mod strays;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexus_api::cni::{CniError, Code};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::unix_ms;
use crate::ledger::{DelFailures, Key, Ledger, LedgerError, Record, Spooled};
use crate::plan::NetnsId;
use crate::verbs::{Leftover, Reason, Verbs};
use audit::Audit;
use evidence::{Sandbox, Suspects, judge, living_netns};

/// The longest pause between two tries of a DEL that fails.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Looks for leftovers until `stop`; what it has begun by then runs to its end.
pub async fn run(verbs: Arc<Verbs>, stop: CancellationToken) {
    let mut recovery =
        Recovery { verbs, stop, suspects: Suspects::new(), audit: Audit::default(), running: BTreeMap::new() };
    while !recovery.stop.is_cancelled() {
        recovery.look().await;
        tokio::select! {
            () = tokio::time::sleep(recovery.verbs.settings.recovery_interval) => {}
            () = recovery.stop.cancelled() => {}
        }
    }
    for job in recovery.running.into_values() {
        let _ = job.await;
    }
}

struct Recovery {
    verbs: Arc<Verbs>,
    stop: CancellationToken,
    suspects: Suspects,
    audit: Audit,
    /// What has been begun. A job waits for the lane of its container, and one that waits long must not keep the others.
    running: BTreeMap<Job, JoinHandle<()>>,
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
    spooled: Vec<Spooled>,
    living: std::io::Result<BTreeSet<NetnsId>>,
}

impl Recovery {
    async fn look(&mut self) {
        self.running.retain(|_, job| !job.is_finished());
        let (ledger, boot) = (self.verbs.ledger.clone(), self.verbs.boot_id.clone());
        let seen = tokio::task::spawn_blocking(move || see(&ledger, &boot)).await;
        match seen.unwrap_or_else(|panic| Err(CniError::new(Code::Internal, format!("the look panicked: {panic}")))) {
            Ok(seen) => self.act(seen),
            Err(error) => tracing::error!(%error, "recovery cannot look for leftovers"),
        }
    }

    fn act(&mut self, seen: Seen) {
        for spooled in seen.spooled {
            let verbs = self.verbs.clone();
            self.begin(Job::Spooled(spooled.path().to_owned()), async move { verbs.replay(spooled).await });
        }
        for key in seen.illegible {
            let verbs = self.verbs.clone();
            self.begin(Job::Record(key.clone()), async move { verbs.clear_illegible(&key.0, &key.1).await });
        }
        self.audit(&seen.records);
        let attached = seen.records.iter().filter(|record| asked_for(record).is_none());
        let attached: Vec<_> = attached.map(|record| Sandbox::new(record, self.pod_deleted(record))).collect();
        let dead = self.judge(&attached, seen.living);
        for record in seen.records {
            let key = (record.planned.container_id.clone(), record.planned.ifname.clone());
            let verbs = self.verbs.clone();
            let dead = dead.contains(&key).then_some(Reason::Dead);
            if let Some(reason) = asked_for(&record).or(dead) {
                if is_due(&record.del_failures, verbs.settings.recovery_interval, unix_ms()) {
                    let (leftover, stop) = (Leftover::new(&record, reason), self.stop.clone());
                    self.begin(Job::Record(key), async move { verbs.recover(leftover, &stop).await });
                }
            } else if !record.status_written {
                self.begin(Job::Record(key.clone()), async move { verbs.resume_status(&key.0, &key.1).await });
            }
        }
    }

    /// Whether the API server says that the pod of a record is no more. A pod that the manifests lack may well be.
    fn pod_deleted(&self, record: &Record) -> bool {
        self.verbs.live.is_some() && self.verbs.store.lacks_pod(&record.planned.pod)
    }

    /// Looks for pods that run without their networks.
    fn audit(&mut self, records: &[Record]) {
        let verbs = self.verbs.clone();
        // Without an API server nobody says which pods run, and before the first list nobody knows them.
        if verbs.live.is_none() || !verbs.store.synced() {
            return;
        }
        let (due, unmet) = self.audit.look(&verbs.store.pods(), records, verbs.settings.gone_gap, Instant::now());
        verbs.metrics.networks_missing(unmet);
        if !due.is_empty() {
            let audit = self.audit.clone();
            self.begin(Job::Audit, audit.ask(verbs, due));
        }
    }

    /// The keys of the sandboxes that are gone.
    fn judge(&mut self, sandboxes: &[Sandbox], living: std::io::Result<BTreeSet<NetnsId>>) -> BTreeSet<Key> {
        // Without sight of the namespaces, all of them count as living: only proof tears anything down (decision 23).
        let living = living.unwrap_or_else(|error| {
            tracing::error!(%error, "recovery cannot tell which sandboxes are gone");
            sandboxes.iter().filter_map(|sandbox| sandbox.netns).collect()
        });
        let gap = self.verbs.settings.gone_gap;
        let judgement = judge(sandboxes, &self.verbs.boot_id, &living, &self.suspects, Instant::now(), gap);
        self.verbs.metrics.disbelieved(judgement.disbelieved.map_or(0, |disbelieved| disbelieved.gone));
        if let Some(disbelieved) = judgement.disbelieved {
            tracing::error!("recovery: {disbelieved}");
        }
        self.suspects = judgement.suspects;
        judgement.dead.into_iter().collect()
    }

    fn begin(&mut self, job: Job, work: impl Future<Output = ()> + Send + 'static) {
        self.running.entry(job).or_insert_with(|| tokio::spawn(work));
    }
}

/// Blocking.
fn see(ledger: &Ledger, boot: &str) -> Result<Seen, CniError> {
    let (mut records, mut illegible) = (Vec::new(), Vec::new());
    for key in ledger.keys()? {
        match ledger.read(&key.0, &key.1) {
            Ok(Some(record)) => records.push(record),
            Ok(None) | Err(LedgerError::Corrupt { .. }) => illegible.push(key),
            Err(error) => tracing::error!(%error, "recovery leaves a record alone that cannot be read"),
        }
    }
    let this_boot = records.iter().filter(|record| record.planned.boot_id == boot && record.is_attached());
    let living = living_netns(&this_boot.filter_map(|record| record.planned.netns_id).collect());
    Ok(Seen { records, illegible, spooled: ledger.spooled()?, living })
}

/// Why a record is to go whatever became of its sandbox.
fn asked_for(record: &Record) -> Option<Reason> {
    if record.del_failures.count > 0 {
        Some(Reason::Failed)
    } else if record.deleting {
        Some(Reason::Begun)
    } else {
        (!record.completed).then_some(Reason::Unfinished)
    }
}

/// Whether the pause after the last failure is over: it doubles with each. A failure that is yet to come was before the
/// clock was set back.
fn is_due(failures: &DelFailures, first: Duration, now_unix_ms: u64) -> bool {
    let Some(doublings) = failures.count.checked_sub(1) else { return true };
    let pause = first.saturating_mul(1 << doublings.min(20)).min(LONGEST_PAUSE);
    now_unix_ms.checked_sub(failures.last_unix_ms).is_none_or(|since| Duration::from_millis(since) >= pause)
}

#[cfg(test)]
mod tests;
