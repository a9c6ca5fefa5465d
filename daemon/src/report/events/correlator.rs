//! Deduplication and rate limits of events, like client-go's event correlator: a repeated event
//! increments the count of the first one, and a single pod cannot flood the API server. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Event, EventReason, Subject};

/// The number of subjects that are remembered: several times the pods of a full node.
const MAX_SUBJECTS: usize = 1024;
/// The number of events of a subject that are remembered.
const MAX_EVENTS: usize = 32;
/// The limit for one subject.
const SUBJECT_LIMIT: RateLimit = RateLimit {
    burst: 50,
    refill: Duration::from_mins(1),
};
/// The limit for all subjects together.
const TOTAL_LIMIT: RateLimit = RateLimit {
    burst: 100,
    refill: Duration::from_millis(50),
};

/// The decision about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Create an object with this name.
    Create(String),
    /// Set the count of the object with this name.
    SetCount(String, u32),
    /// Drop the event: the subject has reached its limit.
    Drop,
}

/// The recently sent events of all subjects, and the rate limits.
#[derive(Debug)]
pub(super) struct Correlator {
    /// The most recently used last.
    subjects: VecDeque<History>,
    total: TokenBucket,
}

/// The recent events of one subject.
#[derive(Debug)]
struct History {
    subject: Subject,
    bucket: TokenBucket,
    /// The oldest first.
    events: VecDeque<SentEvent>,
}

#[derive(Debug)]
struct SentEvent {
    reason: EventReason,
    message: String,
    /// The name of the object.
    name: String,
    count: u32,
}

impl Correlator {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            subjects: VecDeque::new(),
            total: TokenBucket::full(TOTAL_LIMIT, now),
        }
    }

    /// Decides what to do with an event, and remembers the event. `name` returns the name for a new
    /// object.
    pub(super) fn correlate(
        &mut self,
        event: &Event,
        name: impl FnOnce() -> String,
        now: Instant,
    ) -> Action {
        let mut history = self
            .subjects
            .iter()
            .position(|history| history.subject == event.subject)
            .and_then(|index| self.subjects.remove(index))
            .unwrap_or_else(|| History {
                subject: event.subject.clone(),
                bucket: TokenBucket::full(SUBJECT_LIMIT, now),
                events: VecDeque::new(),
            });
        let action = history.correlate(event, name, now);
        if self.subjects.len() == MAX_SUBJECTS {
            self.subjects.pop_front();
        }
        self.subjects.push_back(history);
        action
    }

    /// Takes a token for a request, or returns how long to wait before the request.
    pub(super) fn throttle(&mut self, now: Instant) -> Duration {
        self.total.take(now).err().unwrap_or_default()
    }

    /// Forgets an event whose object does not exist in the API server.
    pub(super) fn forget(&mut self, event: &Event) {
        for history in &mut self.subjects {
            if history.subject == event.subject {
                history.events.retain(|sent| !sent.matches(event));
            }
        }
    }
}

impl History {
    fn correlate(&mut self, event: &Event, name: impl FnOnce() -> String, now: Instant) -> Action {
        if self.bucket.take(now).is_err() {
            return Action::Drop;
        }
        if let Some(sent) = self.events.iter_mut().find(|sent| sent.matches(event)) {
            sent.count += 1;
            return Action::SetCount(sent.name.clone(), sent.count);
        }
        let name = name();
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(SentEvent {
            reason: event.reason,
            message: event.message.clone(),
            name: name.clone(),
            count: 1,
        });
        Action::Create(name)
    }
}

impl SentEvent {
    fn matches(&self, event: &Event) -> bool {
        self.reason == event.reason && self.message == event.message
    }
}

#[derive(Debug, Clone, Copy)]
struct RateLimit {
    burst: u32,
    /// The time in which one token is refilled.
    refill: Duration,
}

#[derive(Debug)]
struct TokenBucket {
    limit: RateLimit,
    tokens: u32,
    /// When the last token was refilled.
    refilled: Instant,
}

impl TokenBucket {
    fn full(limit: RateLimit, now: Instant) -> Self {
        Self {
            limit,
            tokens: limit.burst,
            refilled: now,
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The time until the next token, if the bucket is empty.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let RateLimit { burst, refill } = self.limit;
        let elapsed = now.saturating_duration_since(self.refilled);
        let new = u32::try_from(elapsed.as_nanos() / refill.as_nanos()).unwrap_or(u32::MAX);
        self.refilled = if new >= burst {
            now
        } else {
            self.refilled + refill * new
        };
        self.tokens = self.tokens.saturating_add(new).min(burst);
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                Ok(())
            }
            None => Err(refill.saturating_sub(now.saturating_duration_since(self.refilled))),
        }
    }
}

#[cfg(test)]
mod tests;
