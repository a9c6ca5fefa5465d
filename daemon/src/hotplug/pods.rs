//! Which pods are due for a round, and when a failed round is repeated. Without I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use plexus_api::selection::NETWORKS;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::round::Outcome;
use crate::attached_pods::PodName;
use crate::backoff::Backoff;
use crate::model::Pod;
use crate::report::events::limit_message;

/// The longest pause before a failed round is repeated.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The pods of the node.
#[derive(Debug, Default)]
pub(super) struct Pods {
    pods: BTreeMap<PodName, PodState>,
    /// The revision of the definitions.
    definitions: u64,
}

#[derive(Debug)]
struct PodState {
    /// A hash of the UID and the annotation.
    fingerprint: u64,
    state: State,
    /// Whether another round is needed, whatever the outcome of the running one.
    changed: bool,
    backoff: Backoff,
    /// When `state` began.
    since: Instant,
    /// Why the last round for this annotation was refused or has failed.
    error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The sandbox has what the annotation asks for, or there is no sandbox.
    Settled,
    Running,
    /// The annotation asks for something that is refused, until it or a definition changes.
    Refused,
    /// Something has failed.
    Waiting {
        retry: Instant,
    },
}

/// The round of a pod that does not have what its annotation asks for, for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoundStatus {
    pub(crate) state: RoundState,
    /// The time in this state.
    pub(crate) age_seconds: u64,
    /// The time until the retry of a failed round.
    pub(crate) retry_seconds: Option<u64>,
    /// Why the last round for this annotation was refused or has failed.
    pub(crate) error: Option<String>,
}

/// The state of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RoundState {
    Running,
    /// The annotation or a definition must change before the next round.
    Refused,
    Failed,
}

impl Pods {
    /// Takes over the current pods and the revision of the definitions.
    pub(super) fn update(&mut self, current: &[Arc<Pod>], definitions: u64) {
        let definitions_changed = self.definitions != definitions;
        self.definitions = definitions;
        let mut previous = std::mem::take(&mut self.pods);
        for pod in current.iter().filter(|pod| !pod.is_static()) {
            let name = (pod.namespace.clone(), pod.name.clone());
            let fingerprint = fingerprint(pod);
            let mut entry = previous.remove(&name).unwrap_or_else(|| PodState {
                fingerprint,
                state: State::Settled,
                changed: true,
                backoff: Backoff::up_to(LONGEST_PAUSE),
                since: Instant::now(),
                error: None,
            });
            if entry.fingerprint != fingerprint {
                entry.fingerprint = fingerprint;
                entry.changed = true;
                entry.backoff.reset();
                entry.error = None;
            }
            // A round that runs may have looked a definition up before the change.
            let depends_on_definitions = entry.state != State::Settled;
            entry.changed |= definitions_changed && depends_on_definitions;
            self.pods.insert(name, entry);
        }
        // A round that runs keeps its entry, so that no second one starts for a pod of this name.
        previous.retain(|_, entry| entry.state == State::Running);
        self.pods.extend(previous);
    }

    /// Marks pods whose ADD has just succeeded.
    pub(super) fn mark_attached(&mut self, attached: &BTreeSet<PodName>) {
        for name in attached {
            if let Some(entry) = self.pods.get_mut(name) {
                entry.changed = true;
            }
        }
    }

    /// The pods whose rounds are to start now. They count as running.
    pub(super) fn take_due(&mut self) -> Vec<PodName> {
        let now = Instant::now();
        let mut due = Vec::new();
        for (name, entry) in &mut self.pods {
            let is_due = match entry.state {
                State::Running => false,
                State::Settled | State::Refused => entry.changed,
                State::Waiting { retry } => entry.changed || retry <= now,
            };
            if is_due {
                entry.state = State::Running;
                entry.since = now;
                entry.changed = false;
                due.push(name.clone());
            }
        }
        due
    }

    /// Records the outcome of a round.
    pub(super) fn finished(&mut self, name: &PodName, outcome: Outcome) {
        let Some(entry) = self.pods.get_mut(name) else {
            return;
        };
        entry.since = Instant::now();
        let (state, error) = match outcome {
            Outcome::Unchanged | Outcome::Changed => {
                entry.backoff.reset();
                (State::Settled, None)
            }
            Outcome::Refused(error) => (State::Refused, Some(error)),
            Outcome::Failed(error) => {
                let retry = entry.since + entry.backoff.next(Duration::ZERO);
                (State::Waiting { retry }, Some(error))
            }
        };
        entry.state = state;
        entry.error = error.map(|error| limit_message(&error).to_owned());
    }

    /// The rounds of all pods that do not have what their annotation asks for, by `namespace/name`.
    pub(super) fn unsettled(&self) -> BTreeMap<String, RoundStatus> {
        let now = Instant::now();
        let pods = self.pods.iter().filter_map(|((namespace, name), entry)| {
            let (state, retry) = match entry.state {
                State::Settled => return None,
                State::Running => (RoundState::Running, None),
                State::Refused => (RoundState::Refused, None),
                State::Waiting { retry } => (RoundState::Failed, Some(retry)),
            };
            let status = RoundStatus {
                state,
                age_seconds: now.saturating_duration_since(entry.since).as_secs(),
                retry_seconds: retry.map(|retry| retry.saturating_duration_since(now).as_secs()),
                error: entry.error.clone(),
            };
            Some((format!("{namespace}/{name}"), status))
        });
        pods.collect()
    }

    /// When the next failed round is repeated.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        let retries = self.pods.values().filter_map(|entry| match entry.state {
            State::Waiting { retry } => Some(retry),
            _ => None,
        });
        retries.min()
    }

    /// The number of pods that do not have what their annotation asks for.
    pub(super) fn pending(&self) -> usize {
        let pods = self.pods.values();
        pods.filter(|entry| matches!(entry.state, State::Refused | State::Waiting { .. }))
            .count()
    }
}

fn fingerprint(pod: &Pod) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&pod.uid, pod.annotations.get(NETWORKS)).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
