//! The recent warnings of pods, for `plexusd inspect`: the ledger does not keep the error of an ADD
//! that was undone, and plexusd has no right to read events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::{Event, Subject, limit_message};
use crate::clock::unix_ms;
use crate::mutex::lock;

/// The number of warnings that are kept: several for each pod of a full node.
const MAX_WARNINGS: usize = 512;

/// The newest warning of a pod for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodWarning {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The reason of the event.
    pub(crate) reason: String,
    pub(crate) message: String,
    /// The time in milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

/// The recent warnings, the oldest first. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct RecentWarnings(Arc<Mutex<VecDeque<PodWarning>>>);

impl RecentWarnings {
    /// Keeps an event, if it is a warning of a pod, in place of the last one with the same reason.
    pub(super) fn add(&self, event: &Event) {
        let Subject::Pod(pod) = &event.subject else {
            return;
        };
        if !event.reason.is_warning() {
            return;
        }
        let reason = event.reason.name();
        let message = limit_message(&event.message);
        let mut warnings = lock(&self.0);
        warnings.retain(|warning| {
            let is_of_pod = warning.namespace == pod.namespace && warning.name == pod.name;
            !is_of_pod || warning.reason != reason
        });
        if warnings.len() == MAX_WARNINGS {
            warnings.pop_front();
        }
        warnings.push_back(PodWarning {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            unix_ms: unix_ms(),
        });
    }

    pub(super) fn all(&self) -> Vec<PodWarning> {
        lock(&self.0).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PodRef;
    use crate::report::events::{EventReason, MAX_MESSAGE};

    fn event(pod: &str, reason: EventReason, message: &str) -> Event {
        Event {
            subject: Subject::Pod(PodRef {
                namespace: "ns".to_owned(),
                name: pod.to_owned(),
                ..PodRef::default()
            }),
            reason,
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_newest_warning_of_a_pod_for_each_reason_is_kept_in_a_limited_number() {
        let recent = RecentWarnings::default();
        recent.add(&event("p", EventReason::AddedInterface, "no warning"));
        recent.add(&event("p", EventReason::AttachFailed, "first"));
        recent.add(&event("p", EventReason::CapabilityMissing, "other"));
        recent.add(&event("p", EventReason::AttachFailed, &"x".repeat(5000)));
        let kept = recent.all();
        let texts: Vec<_> = kept.iter().map(|warning| warning.message.len()).collect();
        assert_eq!(texts, ["other".len(), MAX_MESSAGE]);
        for number in 0..2000 {
            recent.add(&event(
                &format!("p{number}"),
                EventReason::AttachFailed,
                "x",
            ));
        }
        let kept = recent.all();
        assert_eq!(kept.len(), MAX_WARNINGS);
        assert_eq!(kept.last().map(|warning| &*warning.name), Some("p1999"));
    }
}
