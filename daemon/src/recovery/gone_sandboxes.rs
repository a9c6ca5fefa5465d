//! Decides which sandboxes are gone. Cleanup that the runtime did not ask for requires proof
//! (decision 23): another boot, or a network namespace that was missing in two scans some time
//! apart. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::inventory::KnownRecord;
use crate::ledger::RecordKey;
use crate::model::NetnsId;

/// The number of sandboxes that may be missing at once regardless of their share: on a node with
/// few pods, a single one is more than a fifth.
const ALWAYS_PLAUSIBLE: usize = 4;
/// One in this many sandboxes may be missing at once; more are a mass loss.
const PLAUSIBLE_SHARE: usize = 5;

/// The sandbox of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordedSandbox {
    pub(super) key: RecordKey,
    /// The boot in which the sandbox was created.
    pub(super) boot_id: String,
    /// The network namespace. If unknown, only another boot proves that the sandbox is gone.
    pub(super) netns: Option<NetnsId>,
    /// Whether a missing namespace is expected: the ADD or a DEL has failed, or the pod is known to
    /// be deleted.
    pub(super) expected_missing: bool,
    /// Whether the sandbox is attached. Others do not count for a mass loss.
    pub(super) attached: bool,
}

impl RecordedSandbox {
    pub(super) fn new(record: &KnownRecord, pod_deleted: bool) -> Self {
        Self {
            key: record.key.clone(),
            boot_id: record.boot_id.clone(),
            netns: record.netns,
            expected_missing: pod_deleted || !record.is_attached(),
            attached: record.is_attached(),
        }
    }
}

/// The sandboxes that were missing in the last scan.
pub(super) type MissingSandboxes = BTreeMap<RecordKey, MissingSandbox>;

/// A sandbox whose network namespace is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MissingSandbox {
    netns: NetnsId,
    /// The first of the consecutive scans that missed the namespace.
    since: Instant,
}

/// The conclusions from one scan.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    /// The sandboxes that are proved to be gone.
    pub(super) gone: Vec<RecordKey>,
    /// The input for the judgement of the next scan.
    pub(super) missing: MissingSandboxes,
    /// Set if too many sandboxes of this boot are missing, which are then neither in `gone` nor in
    /// `missing`.
    pub(super) mass_loss: Option<MassLoss>,
}

/// More sandboxes are missing at once than is plausible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "too many sandboxes look gone at once ({missing} of {total}), so none of them is cleaned up; check that plexusd \
     shares the host's PID namespace"
)]
pub(crate) struct MassLoss {
    pub(super) missing: usize,
    pub(super) total: usize,
}

impl MassLoss {
    /// Whether it is not plausible that so many of the attached sandboxes of this boot are gone.
    pub(crate) fn of(missing: usize, total: usize) -> Option<Self> {
        let is_loss = missing > ALWAYS_PLAUSIBLE && missing * PLAUSIBLE_SHARE > total;
        is_loss.then_some(Self { missing, total })
    }
}

/// Judges the sandboxes of all records. `existing` contains the network namespaces that still
/// exist, and `missing` is that of the judgement of the previous scan.
///
/// A sandbox of another boot is gone. A sandbox of this boot is gone if its network namespace is
/// missing now and was missing in every scan since one at least `min_gap` ago. If more than a fifth
/// of the sandboxes of this boot are missing, and more than four, the result is a mass loss, and
/// all observations start over. Sandboxes whose pods are deleted do not count towards a mass loss:
/// after the runtime's configuration was withdrawn, the runtime deletes pods without calling
/// Plexus. Sandboxes that are not attached do not count either.
pub(super) fn judge(
    sandboxes: &[RecordedSandbox],
    current_boot_id: &str,
    existing: &BTreeSet<NetnsId>,
    missing: &MissingSandboxes,
    now: Instant,
    min_gap: Duration,
) -> Judgement {
    let (this_boot, earlier_boots): (Vec<_>, Vec<_>) = sandboxes
        .iter()
        .partition(|sandbox| sandbox.boot_id == current_boot_id);
    let mut judgement = Judgement {
        gone: earlier_boots
            .into_iter()
            .map(|sandbox| sandbox.key.clone())
            .collect(),
        ..Judgement::default()
    };
    let missing_now: Vec<_> = this_boot
        .iter()
        .filter_map(|sandbox| {
            let netns = sandbox.netns.filter(|netns| !existing.contains(netns))?;
            Some((sandbox, netns))
        })
        .collect();
    let unexpected = missing_now
        .iter()
        .filter(|(sandbox, _)| !sandbox.expected_missing)
        .count();
    let total = this_boot.iter().filter(|sandbox| sandbox.attached).count();
    judgement.mass_loss = MassLoss::of(unexpected, total);
    if judgement.mass_loss.is_some() {
        return judgement;
    }
    for (RecordedSandbox { key, .. }, netns) in missing_now {
        // A key can be reused for another sandbox.
        let seen_before = missing.get(key).filter(|before| before.netns == netns);
        let since = seen_before.map_or(now, |before| before.since);
        if seen_before.is_some() && now.saturating_duration_since(since) >= min_gap {
            judgement.gone.push(key.clone());
        }
        judgement
            .missing
            .insert(key.clone(), MissingSandbox { netns, since });
    }
    judgement
}

#[cfg(test)]
mod tests;
