//! Pods that run without the networks that they ask for: they started while the runtime did not know of Plexus. Nobody
//! calls us for them, so they are looked for; a false alarm is worse than a pod that is missed.
//!
//! The watch has only metadata, which tell neither a pod that waits for its volumes nor one in the host's network. So
//! whoever has been without a record for some time is asked for once, and it must run, in a network of its own, without
//! network-status: who has that was attached, by us or by Multus before us.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use plexus_api::selection::{self, NETWORKS};

use crate::backoff::doubled;
use crate::cluster::kube::PodSummary;
use crate::context::Context;
use crate::ledger::Record;
use crate::model::{Pod, PodRef};
use crate::mutex::lock;
use crate::report::events::EventReason;

/// How many pods one look asks for: after a node was switched, many of them wait.
const AT_ONCE: usize = 16;
/// So often the pause between two questions doubles.
const DOUBLINGS: u32 = 6;

const MESSAGE: &str = "the pod runs without the networks of its annotation: it started while Plexus did not serve this \
                       node; delete the pod, and the next one gets them";

/// What is known about pods without a record, by UID.
#[derive(Debug, Clone, Default)]
pub(super) struct Audit(Arc<Mutex<BTreeMap<String, Suspect>>>);

#[derive(Debug)]
struct Suspect {
    pod: PodRef,
    since: Instant,
    /// How often it was asked for.
    asked: u32,
    /// Whether it runs without its networks, where that is known.
    unmet: Option<bool>,
}

impl Audit {
    /// Notes which of `pods` have no record, and returns those that it is time to ask for, and how many are known to
    /// run without their networks.
    pub(super) fn look(
        &self,
        pods: &[Arc<Pod>],
        records: &[Record],
        gap: Duration,
        now: Instant,
    ) -> (Vec<PodRef>, usize) {
        let recorded: BTreeSet<_> = records
            .iter()
            .map(|record| (&record.planned.pod.namespace, &record.planned.pod.name))
            .collect();
        let without = pods
            .iter()
            .filter(|pod| asks(pod) && !recorded.contains(&(&pod.namespace, &pod.name)));
        let mut before = std::mem::take(&mut *self.suspects());
        let mut suspects = BTreeMap::new();
        for pod in without {
            let suspect = before.remove(&pod.uid).unwrap_or_else(|| {
                let Pod {
                    namespace,
                    name,
                    uid,
                    ..
                } = pod.as_ref().clone();
                let pod = PodRef {
                    namespace,
                    name,
                    uid,
                    is_static: false,
                };
                Suspect {
                    pod,
                    since: now,
                    asked: 0,
                    unmet: None,
                }
            });
            suspects.insert(pod.uid.clone(), suspect);
        }
        let is_due = |suspect: &&Suspect| {
            let pause = doubled(gap, suspect.asked.min(DOUBLINGS), Duration::MAX);
            suspect.unmet.is_none() && now.saturating_duration_since(suspect.since) >= pause
        };
        let due = suspects
            .values()
            .filter(is_due)
            .take(AT_ONCE)
            .map(|suspect| suspect.pod.clone())
            .collect();
        let unmet = suspects
            .values()
            .filter(|suspect| suspect.unmet == Some(true))
            .count();
        *self.suspects() = suspects;
        (due, unmet)
    }

    /// Asks for these pods, and tells those that run without their networks.
    pub(super) async fn ask(self, context: Arc<Context>, pods: Vec<PodRef>) {
        let Some(api) = &context.node.api_reader else {
            return;
        };
        for pod in pods {
            let running = match api.pod_summary(&pod.namespace, &pod.name).await {
                Ok(running) => running,
                Err(error) => {
                    tracing::debug!(%error, "the audit of running pods goes on later");
                    return;
                }
            };
            let unmet = judge(&pod, running.as_ref());
            let mut suspects = self.suspects();
            // Who has a record by now is no suspect any more, at the next look.
            let Some(suspect) = suspects.get_mut(&pod.uid) else {
                continue;
            };
            suspect.asked += 1;
            suspect.unmet = unmet;
            drop(suspects);
            if unmet == Some(true) {
                context
                    .reporter
                    .event(&pod, EventReason::NetworksMissing, MESSAGE);
            }
        }
    }

    fn suspects(&self) -> MutexGuard<'_, BTreeMap<String, Suspect>> {
        lock(&self.0)
    }
}

/// Whether a pod asks for networks, in words that Plexus would have followed.
fn asks(pod: &Pod) -> bool {
    let networks = pod
        .annotations
        .get(NETWORKS)
        .and_then(|text| selection::parse(text, &pod.namespace).ok());
    !pod.uid.is_empty() && !pod.is_static() && networks.is_some_and(|networks| !networks.is_empty())
}

/// Whether a pod runs without its networks; nothing where that is not known yet.
fn judge(pod: &PodRef, running: Option<&PodSummary>) -> Option<bool> {
    match running {
        // It is gone, or another.
        None => Some(false),
        Some(running)
            if running.uid != pod.uid || running.host_network || running.has_network_status =>
        {
            Some(false)
        }
        Some(running) if !running.is_running => None,
        Some(_) => Some(true),
    }
}
