//! What nobody will ask for again: unfinished ADDs, DELs that failed, sandboxes that are gone, calls that the shim
//! left while the daemon was away, statuses that are not written. At start, and periodically.

pub mod evidence;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plexus_api::cni::{CniError, Code};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ledger::{Key, Ledger, Record, spool};
use crate::verbs::{Reason, Verbs, unix_ms};
use evidence::{Sandbox, Suspects, judge, living_netns};

pub use evidence::boot_id;

/// The longest pause between two tries of a DEL that fails.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// Looks for leftovers until `stop`.
pub async fn run(verbs: Arc<Verbs>, stop: CancellationToken) {
    let mut suspects = Suspects::new();
    while !stop.is_cancelled() {
        work_off_spool(&verbs, &stop).await;
        match blocking(&verbs, look).await {
            Ok(seen) => pass(&verbs, seen, &mut suspects, &stop).await,
            Err(error) => tracing::error!(%error, "recovery cannot look for leftovers"),
        }
        tokio::select! {
            () = tokio::time::sleep(verbs.settings.recovery_interval) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// What there is to see: the records, and which of their network namespaces exist.
struct Seen {
    records: Vec<Record>,
    living: Result<BTreeSet<u64>, std::io::Error>,
}

fn look(state_dir: &Path) -> Result<Seen, CniError> {
    let records = Ledger::read_all(state_dir)?.into_iter().filter_map(|record| {
        record.inspect_err(|error| tracing::error!(%error, "recovery leaves a record alone that cannot be read")).ok()
    });
    let records: Vec<_> = records.collect();
    let wanted = records.iter().filter_map(|record| Some(record.planned.netns_id?.ino)).collect();
    Ok(Seen { records, living: living_netns(&wanted) })
}

async fn pass(verbs: &Arc<Verbs>, seen: Seen, suspects: &mut Suspects, stop: &CancellationToken) {
    let sandboxes: Vec<_> = seen.records.iter().map(Sandbox::from).collect();
    // Without sight of the namespaces, all of them count as living: only proof tears anything down (decision 23).
    let living = seen.living.unwrap_or_else(|error| {
        tracing::error!(%error, "recovery cannot tell which sandboxes are gone");
        sandboxes.iter().filter_map(|sandbox| sandbox.netns).collect()
    });
    let gap = verbs.settings.gone_gap;
    let judgement = judge(&sandboxes, &verbs.boot_id, &living, suspects, Instant::now(), gap);
    if let Some(disbelieved) = judgement.disbelieved {
        tracing::error!("recovery: {disbelieved}");
    }
    *suspects = judgement.suspects;
    let dead: BTreeSet<_> = judgement.dead.into_iter().collect();
    let newest = newest(&seen.records);
    let tasks = TaskTracker::new();
    for (record, Sandbox { key, .. }) in seen.records.into_iter().zip(sandboxes) {
        let verbs = verbs.clone();
        match reason(&record, dead.contains(&key)) {
            Some(reason) if is_due(&record, verbs.settings.recovery_interval) => {
                let stop = stop.clone();
                tasks.spawn(async move { verbs.recover(&key.0, &key.1, reason, &stop).await });
            }
            None if record.completed && !record.status_written && newest.contains(&key) => {
                tasks.spawn(async move { verbs.resume_status(&key.0, &key.1).await });
            }
            _ => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

fn reason(record: &Record, dead: bool) -> Option<Reason> {
    if dead {
        Some(Reason::Dead)
    } else if record.del_failures.count > 0 {
        Some(Reason::Failed)
    } else {
        (!record.completed).then_some(Reason::Unfinished)
    }
}

/// The newest sandbox of each pod: its status is the pod's.
fn newest(records: &[Record]) -> BTreeSet<Key> {
    let mut newest = BTreeMap::<_, &Record>::new();
    for record in records.iter().filter(|record| record.completed) {
        let pod = &record.planned.pod;
        let latest = newest.entry((&pod.namespace, &pod.name)).or_insert(record);
        if record.planned.created_unix_ms > latest.planned.created_unix_ms {
            *latest = record;
        }
    }
    let keys = newest.into_values().map(|record| &record.planned);
    keys.map(|planned| (planned.container_id.clone(), planned.ifname.clone())).collect()
}

/// Whether the pause after the last failure is over: it doubles with each.
fn is_due(record: &Record, first: Duration) -> bool {
    let failures = &record.del_failures;
    let Some(doublings) = failures.count.checked_sub(1) else { return true };
    let pause = first.saturating_mul(1 << doublings.min(20)).min(LONGEST_PAUSE);
    Duration::from_millis(unix_ms().saturating_sub(failures.last_unix_ms)) >= pause
}

/// Serves the DELs that the shim left while no daemon was there (decision 11).
async fn work_off_spool(verbs: &Arc<Verbs>, stop: &CancellationToken) {
    let pending = match blocking(verbs, |dir| Ok(spool::pending(dir)?)).await {
        Ok(pending) => pending,
        Err(error) => {
            tracing::error!(%error, "the spool cannot be read");
            return;
        }
    };
    for spooled in pending {
        if stop.is_cancelled() {
            return;
        }
        let request = match spooled.read() {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "a DEL in the spool cannot be read");
                continue;
            }
        };
        // It stays until it succeeds; a DEL that keeps failing succeeds once its record is orphaned (decision 12).
        match verbs.clone().serve(request, CancellationToken::new()).await {
            Ok(_) => {
                if let Err(error) = spooled.done() {
                    tracing::error!(%error, "a DEL that is done stays in the spool");
                }
            }
            Err(error) => tracing::warn!(%error, "a DEL from the spool failed; it will be tried again"),
        }
    }
}

/// Reads the state directory where it may block.
async fn blocking<T: Send + 'static>(
    verbs: &Verbs,
    read: impl FnOnce(&Path) -> Result<T, CniError> + Send + 'static,
) -> Result<T, CniError> {
    let dir = verbs.settings.state_dir.clone();
    tokio::task::spawn_blocking(move || read(&dir))
        .await
        .unwrap_or_else(|panic| Err(CniError::new(Code::Internal, format!("reading the ledger panicked: {panic}"))))
}
