//! What has been sent lately: so that an event that happens again counts up instead of standing there twice, and
//! nobody's pod can flood the API server. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Event, EventReason, Subject};

/// How many pods are remembered, the node among them: a few full nodes of them.
const PODS: usize = 1024;
/// How many events of a pod are remembered.
const EVENTS: usize = 32;
/// How many events a pod may have at once, and how long it takes until it may have another.
const POD: (u32, Duration) = (50, Duration::from_mins(1));
/// The same for all pods together.
const ALL: (u32, Duration) = (100, Duration::from_millis(50));

/// What to do with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is a new one, to be called so.
    Create(String),
    /// It is the one of this name, for the so manyth time.
    Repeat(String, u32),
    /// This pod has had too many.
    Drop,
}

/// The memory of what was sent.
#[derive(Debug)]
pub(super) struct Limits {
    /// The most recent last.
    pods: VecDeque<Pod>,
    all: Bucket,
}

#[derive(Debug)]
struct Pod {
    whose: Subject,
    bucket: Bucket,
    /// The oldest first.
    seen: VecDeque<Seen>,
}

#[derive(Debug)]
struct Seen {
    reason: EventReason,
    message: String,
    name: String,
    count: u32,
}

impl Limits {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pods: VecDeque::new(),
            all: Bucket::full(ALL.0, now),
        }
    }

    /// Decides about an event; a new one will be called `name`.
    pub(super) fn decide(
        &mut self,
        event: &Event,
        name: impl FnOnce() -> String,
        now: Instant,
    ) -> Decision {
        let known = self
            .pods
            .iter()
            .position(|pod| pod.whose == event.subject)
            .and_then(|index| self.pods.remove(index));
        let mut pod = known.unwrap_or_else(|| Pod {
            whose: event.subject.clone(),
            bucket: Bucket::full(POD.0, now),
            seen: VecDeque::new(),
        });
        let decision = pod.decide(event, name, now);
        if self.pods.len() == PODS {
            self.pods.pop_front();
        }
        self.pods.push_back(pod);
        decision
    }

    /// How long to wait before another event may be sent, of any pod.
    pub(super) fn pace(&mut self, now: Instant) -> Duration {
        self.all.take(ALL, now).err().unwrap_or_default()
    }

    /// The API server does not have the event of this name any more, or never got it.
    pub(super) fn forget(&mut self, event: &Event) {
        for pod in self
            .pods
            .iter_mut()
            .filter(|pod| pod.whose == event.subject)
        {
            pod.seen.retain(|seen| !seen.is(event));
        }
    }
}

impl Pod {
    fn decide(&mut self, event: &Event, name: impl FnOnce() -> String, now: Instant) -> Decision {
        if self.bucket.take(POD, now).is_err() {
            return Decision::Drop;
        }
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.is(event)) {
            seen.count += 1;
            return Decision::Repeat(seen.name.clone(), seen.count);
        }
        let name = name();
        if self.seen.len() == EVENTS {
            self.seen.pop_front();
        }
        let Event {
            reason, message, ..
        } = event.clone();
        self.seen.push_back(Seen {
            reason,
            message,
            name: name.clone(),
            count: 1,
        });
        Decision::Create(name)
    }
}

impl Seen {
    fn is(&self, event: &Event) -> bool {
        self.reason == event.reason && self.message == event.message
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    /// When the latest token came.
    filled: Instant,
}

impl Bucket {
    fn full(tokens: u32, now: Instant) -> Self {
        Self {
            tokens,
            filled: now,
        }
    }

    /// Takes one, or says how long until there is one.
    fn take(&mut self, (size, every): (u32, Duration), now: Instant) -> Result<(), Duration> {
        let since = now.saturating_duration_since(self.filled);
        let new = u32::try_from(since.as_nanos() / every.as_nanos()).unwrap_or(u32::MAX);
        self.filled = if new >= size {
            now
        } else {
            self.filled + every * new
        };
        self.tokens = self.tokens.saturating_add(new).min(size);
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                Ok(())
            }
            None => Err(every.saturating_sub(now.saturating_duration_since(self.filled))),
        }
    }
}

#[cfg(test)]
mod tests;
