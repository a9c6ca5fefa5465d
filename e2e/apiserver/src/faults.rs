//! Faults on demand.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Effect {
    /// The request is looked at only after this time.
    Delay(Duration),
    /// 429 with this `Retry-After`, in seconds.
    TooManyRequests(u32),
    /// An error of the server with this status; nothing was done.
    Error(u16),
    /// The connection ends without an answer; nothing was done.
    Disconnect,
    /// It is done, and then the connection ends without an answer.
    LoseAnswer,
    /// The body of the answer takes this long to come. Not for watches.
    SlowBody(Duration),
    /// Watches say nothing, those that run already too, until the fault is cleared; the connection stays. How often it
    /// happens cannot be bounded.
    Stall,
    /// The connection of a watch ends after so many events and half of the next line.
    CutAfter(usize),
}

/// A fault, and which requests it befalls.
#[derive(Debug, Clone)]
pub struct Fault {
    verb: String,
    resource: String,
    user: Option<String>,
    times: Option<u32>,
    effect: Effect,
}

/// A fault that is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(u64);

impl Fault {
    /// Befalls every request of this verb for this resource, such as `pods` or `pods/status`, until it is cleared. `*`
    /// is any.
    pub fn new(verb: &str, resource: &str, effect: Effect) -> Self {
        Self {
            verb: verb.into(),
            resource: resource.into(),
            user: None,
            times: None,
            effect,
        }
    }

    /// The same, so many times only.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// The same for the requests of one user only.
    #[must_use]
    pub fn of_user(mut self, user: &str) -> Self {
        self.user = Some(user.into());
        self
    }

    fn befalls(&self, request: &Befallen) -> bool {
        (self.verb == "*" || self.verb == request.verb)
            && (self.resource == "*" || self.resource == request.resource)
            && self.user.as_ref().is_none_or(|user| *user == request.user)
    }
}

/// What a fault can look at.
#[derive(Debug, Clone)]
pub struct Befallen {
    /// The verb.
    pub verb: String,
    /// `pods`, `pods/status`.
    pub resource: String,
    /// The user.
    pub user: String,
}

/// The faults that are on.
#[derive(Debug, Default)]
pub struct Faults {
    list: Mutex<Vec<(FaultId, Fault)>>,
    changed: watch::Sender<u64>,
}

impl Faults {
    /// Turns one on.
    pub fn add(&self, fault: Fault) -> FaultId {
        let mut id = FaultId(0);
        self.changed.send_modify(|count| {
            *count += 1;
            id = FaultId(*count);
        });
        self.lock().push((id, fault));
        self.changed.send_modify(|_| {});
        id
    }

    /// Turns one off, or all.
    pub fn clear(&self, id: Option<FaultId>) {
        self.lock()
            .retain(|(one, _)| id.is_some_and(|id| id != *one));
        self.changed.send_modify(|_| {});
    }

    /// What befalls this request, which is counted.
    pub fn take(&self, request: &Befallen) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.lock().retain_mut(|(_, fault)| {
            if matches!(fault.effect, Effect::Stall) || !fault.befalls(request) {
                return true;
            }
            effects.push(fault.effect.clone());
            fault.times = fault.times.map(|times| times.saturating_sub(1));
            fault.times != Some(0)
        });
        effects
    }

    /// Whether the watch of this request is stalled now.
    pub fn stalls(&self, request: &Befallen) -> bool {
        self.lock()
            .iter()
            .any(|(_, fault)| matches!(fault.effect, Effect::Stall) && fault.befalls(request))
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(FaultId, Fault)>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
