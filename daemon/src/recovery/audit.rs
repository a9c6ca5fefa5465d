//! Search for pods that run without the networks of their annotation, because they started while
//! the runtime did not call Plexus. A false alarm is worse than a missed pod.
//!
//! The watch has only metadata, which shows neither whether a pod is running nor whether it uses
//! the host's network. A pod that asks for networks and has no record for some time is therefore
//! fetched once from the API server. The pod is reported if it runs in its own network namespace
//! without network-status. A pod with network-status was attached, by Plexus or by Multus before
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use plexus_api::selection::{self, NETWORKS};

use super::inventory::KnownRecord;
use crate::backoff::doubled;
use crate::cluster::kube::PodSummary;
use crate::context::Context;
use crate::model::{Pod, PodRef};
use crate::mutex::lock;
use crate::report::events::EventReason;

/// The maximum number of pods that one round fetches: many are due after Plexus was installed.
const PODS_PER_ROUND: usize = 16;
/// The maximum number of times that the pause between two fetches of a pod doubles.
const MAX_DOUBLINGS: u32 = 6;

const MESSAGE: &str = "the pod runs without the networks of its annotation, because it started while Plexus did not \
                       serve this node; delete the pod, so that its replacement gets them";

/// The pods that ask for networks and have no record, by UID.
#[derive(Debug, Clone, Default)]
pub(super) struct Audit(Arc<Mutex<BTreeMap<String, UnrecordedPod>>>);

/// A pod without a record.
#[derive(Debug)]
struct UnrecordedPod {
    pod: PodRef,
    since: Instant,
    fetch_count: u32,
    /// Whether the pod runs without its networks, if known.
    lacks_networks: Option<bool>,
}

impl Audit {
    /// Updates the list of pods without a record. Returns the pods that are due to be fetched, and
    /// the number of pods that are known to run without their networks.
    pub(super) fn update(
        &self,
        pods: &[Arc<Pod>],
        records: &[KnownRecord],
        gap: Duration,
        now: Instant,
    ) -> (Vec<PodRef>, usize) {
        let recorded: BTreeSet<_> = records
            .iter()
            .map(|record| (&record.pod.namespace, &record.pod.name))
            .collect();
        let mut previous = std::mem::take(&mut *self.unrecorded());
        let unrecorded: BTreeMap<_, _> = pods
            .iter()
            .filter(|pod| {
                asks_for_networks(pod) && !recorded.contains(&(&pod.namespace, &pod.name))
            })
            .map(|pod| {
                let entry = previous
                    .remove(&pod.uid)
                    .unwrap_or_else(|| UnrecordedPod::new(pod, now));
                (pod.uid.clone(), entry)
            })
            .collect();
        let due = unrecorded
            .values()
            .filter(|entry| entry.is_due(gap, now))
            .take(PODS_PER_ROUND)
            .map(|entry| entry.pod.clone())
            .collect();
        let lacking = unrecorded
            .values()
            .filter(|entry| entry.lacks_networks == Some(true))
            .count();
        *self.unrecorded() = unrecorded;
        (due, lacking)
    }

    /// Fetches these pods, and emits an event for each that runs without its networks.
    pub(super) async fn fetch(self, context: Arc<Context>, pods: Vec<PodRef>) {
        let Some(api) = &context.node.api_reader else {
            return;
        };
        for pod in pods {
            let current = api.pod_summary(&pod.namespace, &pod.name).await;
            let lacks_networks = match &current {
                Ok(current) => lacks_networks(&pod, current.as_ref()),
                Err(_) => None,
            };
            // The next update removes pods that have got a record meanwhile.
            let still_unrecorded = if let Some(entry) = self.unrecorded().get_mut(&pod.uid) {
                entry.fetch_count += 1;
                entry.lacks_networks = lacks_networks;
                true
            } else {
                false
            };
            if let Err(error) = current {
                tracing::debug!(%pod, %error, "the search for pods without networks continues later");
                if error.is_refusal() {
                    continue;
                }
                return;
            }
            if still_unrecorded && lacks_networks == Some(true) {
                context
                    .reporter
                    .event(&pod, EventReason::NetworksMissing, MESSAGE);
            }
        }
    }

    fn unrecorded(&self) -> MutexGuard<'_, BTreeMap<String, UnrecordedPod>> {
        lock(&self.0)
    }
}

impl UnrecordedPod {
    fn new(pod: &Pod, now: Instant) -> Self {
        Self {
            pod: PodRef {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                is_static: false,
            },
            since: now,
            fetch_count: 0,
            lacks_networks: None,
        }
    }

    fn is_due(&self, gap: Duration, now: Instant) -> bool {
        let pause = doubled(gap, self.fetch_count.min(MAX_DOUBLINGS), Duration::MAX);
        self.lacks_networks.is_none() && now.saturating_duration_since(self.since) >= pause
    }
}

/// Whether a pod has a valid annotation that asks for networks.
fn asks_for_networks(pod: &Pod) -> bool {
    let networks = pod
        .annotations
        .get(NETWORKS)
        .and_then(|text| selection::parse(text, &pod.namespace).ok());
    !pod.uid.is_empty() && !pod.is_static() && networks.is_some_and(|networks| !networks.is_empty())
}

/// Whether a pod runs without its networks. `current` is the pod that now has this name. Returns
/// `None` if the answer may still change.
fn lacks_networks(pod: &PodRef, current: Option<&PodSummary>) -> Option<bool> {
    let Some(current) = current else {
        return Some(false);
    };
    if current.uid != pod.uid || current.host_network || current.network_status.is_some() {
        return Some(false);
    }
    current.is_running.then_some(true)
}

#[cfg(test)]
mod tests;
