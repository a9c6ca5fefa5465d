//! Fault injection: effects, and the requests that they apply to.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

use crate::lock::lock;

/// The effect of a fault on a request.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Handles the request after a delay.
    Delay(Duration),
    /// Answers 429 with this `Retry-After`, in seconds, without executing the request.
    TooManyRequests(u32),
    /// Answers this HTTP status without executing the request.
    Error(u16),
    /// Closes the connection without a response and without executing the request.
    Disconnect,
    /// Executes the request, then closes the connection without a response.
    LoseResponse,
    /// Sends the response body slowly, over this time. Does not apply to watches.
    SlowBody(Duration),
    /// Holds back all events of matching watches, including running ones, until the fault is
    /// cleared. The connection stays open. [`Fault::times`] has no effect.
    Stall,
    /// Closes the connection of a watch after this many events and half of the next one.
    CutAfter(usize),
}

/// An effect and the requests that it applies to.
#[derive(Debug, Clone)]
pub struct Fault {
    verb: String,
    resource: String,
    user: Option<String>,
    name: Option<String>,
    times: Option<u32>,
    effect: Effect,
}

/// Identifies an active fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(u64);

impl Fault {
    /// A fault for every request with this verb and this resource, such as `pods` or `pods/status`,
    /// until it is cleared. `*` matches anything.
    pub fn new(verb: &str, resource: &str, effect: Effect) -> Self {
        Self {
            verb: verb.into(),
            resource: resource.into(),
            user: None,
            name: None,
            times: None,
            effect,
        }
    }

    /// Limits the fault to this many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Limits the fault to the requests of one user.
    #[must_use]
    pub fn of_user(mut self, user: &str) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Limits the fault to the requests for one object.
    #[must_use]
    pub fn of_name(mut self, name: &str) -> Self {
        self.name = Some(name.into());
        self
    }

    fn matches(&self, request: &RequestAttributes) -> bool {
        (self.verb == "*" || self.verb == request.verb)
            && (self.resource == "*" || self.resource == request.resource)
            && self.user.as_ref().is_none_or(|user| *user == request.user)
            && self.name.as_ref().is_none_or(|name| *name == request.name)
    }
}

/// The attributes of a request that faults match on.
#[derive(Debug, Clone)]
pub struct RequestAttributes {
    /// The verb as in RBAC.
    pub verb: String,
    /// The resource, such as `pods` or `pods/status`; otherwise the path.
    pub resource: String,
    /// The name of the object. Empty if the request is not for one object.
    pub name: String,
    /// The authenticated user.
    pub user: String,
}

/// The active faults.
#[derive(Debug, Default)]
pub struct Faults {
    active: Mutex<Vec<(FaultId, Fault)>>,
    /// Wakes stalled watches. The value is the last ID.
    changed: watch::Sender<u64>,
}

impl Faults {
    /// Activates a fault.
    pub fn add(&self, fault: Fault) -> FaultId {
        let mut id = FaultId(0);
        self.changed.send_modify(|count| {
            *count += 1;
            id = FaultId(*count);
        });
        lock(&self.active).push((id, fault));
        self.changed.send_modify(|_| {});
        id
    }

    /// Clears one fault.
    pub fn clear(&self, id: FaultId) {
        lock(&self.active).retain(|(active, _)| *active != id);
        self.changed.send_modify(|_| {});
    }

    /// Clears all faults.
    pub fn clear_all(&self) {
        lock(&self.active).clear();
        self.changed.send_modify(|_| {});
    }

    /// The effects on this request. Counts the request against [`Fault::times`].
    pub fn take(&self, request: &RequestAttributes) -> Vec<Effect> {
        let mut effects = Vec::new();
        lock(&self.active).retain_mut(|(_, fault)| {
            if matches!(fault.effect, Effect::Stall) || !fault.matches(request) {
                return true;
            }
            effects.push(fault.effect.clone());
            fault.times = fault.times.map(|times| times.saturating_sub(1));
            fault.times != Some(0)
        });
        effects
    }

    /// Whether the watch of this request is stalled now.
    pub fn stalls(&self, request: &RequestAttributes) -> bool {
        lock(&self.active)
            .iter()
            .any(|(_, fault)| matches!(fault.effect, Effect::Stall) && fault.matches(request))
    }

    /// Subscribes to changes of the active faults.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
