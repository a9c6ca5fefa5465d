//! Locks of networks: ADD and DEL hold shared locks, GC holds an exclusive lock.
//!
//! The specification forbids other commands during GC. A plugin's GC deletes all attachments that
//! are not on its list, including attachments made after the list was read.
//!
//! GC first waits until there are no shared locks while new calls still get theirs, so that one
//! plugin that hangs does not block the node. If that never happens because calls overlap, GC
//! blocks new calls for a short time. After that, GC gives up.
//!
//! GC waits for all networks at the same time, and runs on one after the other: a network is locked
//! only when it is its turn.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::timeout;

use crate::call_limits::{CallLimits, Resource, WaitError};

/// How long GC waits for a network while new calls still get shared locks.
const NON_BLOCKING_WAIT: Duration = Duration::from_secs(5);
/// How long GC may block new calls before it runs. Most plugins are faster, so the network is free
/// by then unless a plugin hangs.
const BLOCKING_WAIT: Duration = Duration::from_secs(1);

/// The locks of all networks, by the name in the network configuration: plugins store their state
/// under that name, whichever definition the configuration comes from.
#[derive(Debug, Default)]
pub(super) struct NetworkLocks {
    state: watch::Sender<LockTable>,
    gc: Mutex<()>,
}

#[derive(Debug, Default)]
struct LockTable {
    next_id: u64,
    shared: BTreeMap<u64, SharedHolder>,
    /// Networks that are locked exclusively, or are to be once their shared locks are released.
    exclusive: BTreeSet<String>,
}

#[derive(Debug)]
struct SharedHolder {
    call: String,
    networks: BTreeSet<String>,
}

/// Shared locks of the networks of one call.
#[derive(Debug)]
pub(crate) struct SharedNetworkLock {
    state: watch::Sender<LockTable>,
    id: u64,
}

/// The lock that prevents two GCs from running at the same time.
#[derive(Debug)]
pub(crate) struct GcLock<'a> {
    _guard: MutexGuard<'a, ()>,
    /// Locked while GC runs on a network.
    turn: Mutex<()>,
}

/// The right to run GC on a network: no other call runs there, and GC runs on no other network.
#[derive(Debug)]
pub(crate) struct GcGuard<'a> {
    // Released in this order.
    _network: ExclusiveNetworkLock,
    _turn: MutexGuard<'a, ()>,
}

/// The exclusive lock of a network. Shared locks wait until it is dropped.
#[derive(Debug)]
struct ExclusiveNetworkLock {
    state: watch::Sender<LockTable>,
    network: String,
}

impl NetworkLocks {
    /// Locks all of `networks` at once, unless GC holds one of them. `call` names the call in the
    /// errors of a waiting GC.
    pub(super) fn try_acquire_shared(
        &self,
        call: &str,
        networks: &BTreeSet<String>,
    ) -> Option<SharedNetworkLock> {
        let acquire = |state: &mut LockTable| {
            if !state.exclusive.is_disjoint(networks) {
                return None;
            }
            let id = state.next_id;
            state.next_id += 1;
            let holder = SharedHolder {
                call: call.to_owned(),
                networks: networks.clone(),
            };
            state.shared.insert(id, holder);
            Some(id)
        };
        Some(SharedNetworkLock {
            id: self.attempt(acquire)?,
            state: self.state.clone(),
        })
    }

    /// Waits until GC holds none of `networks`.
    ///
    /// # Errors
    /// The limits ended the wait.
    pub(super) async fn wait_for_gc(
        &self,
        networks: &BTreeSet<String>,
        limits: &CallLimits,
    ) -> Result<(), WaitError> {
        let is_free = |state: &mut LockTable| state.exclusive.is_disjoint(networks).then_some(());
        let resource = || {
            let state = self.state.borrow();
            let locked = networks.intersection(&state.exclusive);
            let locked: Vec<_> = locked.map(|network| format!("{network:?}")).collect();
            Resource::held(format!("network {}", locked.join(", ")), ["GC".to_owned()])
        };
        limits.wait(self.wait_until(is_free, || {}), resource).await
    }

    /// Waits until no other GC is running. Calls blocked by one GC get their locks before the next
    /// GC begins.
    pub(super) async fn lock_gc(&self) -> GcLock<'_> {
        GcLock {
            _guard: self.gc.lock().await,
            turn: Mutex::default(),
        }
    }

    /// Waits until it is the turn of this network and no call holds it, and locks it.
    ///
    /// # Errors
    /// [`WaitError::TimedOut`] with the calls that still hold the network.
    pub(super) async fn acquire_exclusive<'a>(
        &self,
        gc: &'a GcLock<'_>,
        network: &str,
    ) -> Result<GcGuard<'a>, WaitError> {
        let is_free = |state: &mut LockTable| state.is_free(network).then_some(());
        let lock = |state: &mut LockTable| {
            state.exclusive.insert(network.to_owned());
            ExclusiveNetworkLock {
                state: self.state.clone(),
                network: network.to_owned(),
            }
        };
        loop {
            let on_wait = || {
                let calls = self.state.borrow().calls_on(network).join(", ");
                tracing::debug!(network, calls, "GC waits for the calls in flight");
            };
            let waited = timeout(NON_BLOCKING_WAIT, self.wait_until(is_free, on_wait)).await;
            let turn = gc.turn.lock().await;
            let locked = self.attempt(|state| state.is_free(network).then(|| lock(state)));
            if let Some(locked) = locked {
                return Ok(GcGuard {
                    _network: locked,
                    _turn: turn,
                });
            }
            if waited.is_err() {
                let locked = self.attempt(|state| Some(lock(state)));
                let free = self.wait_until(is_free, || {});
                if let (Ok(()), Some(locked)) = (timeout(BLOCKING_WAIT, free).await, locked) {
                    return Ok(GcGuard {
                        _network: locked,
                        _turn: turn,
                    });
                }
                let calls = self.state.borrow().calls_on(network);
                return Err(WaitError::TimedOut(Resource::held("the network", calls)));
            }
        }
    }

    /// Calls `attempt` now and after each released lock until it returns a value. Calls `on_wait`
    /// if the first attempt returns `None`.
    async fn wait_until<T>(
        &self,
        mut attempt: impl FnMut(&mut LockTable) -> Option<T>,
        on_wait: impl FnOnce(),
    ) -> T {
        let mut released = self.state.subscribe();
        let mut on_wait = Some(on_wait);
        loop {
            if let Some(outcome) = self.attempt(&mut attempt) {
                return outcome;
            }
            if let Some(on_wait) = on_wait.take() {
                on_wait();
            }
            // Fails only without a sender, and `self.state` is one.
            let _ = released.changed().await;
        }
    }

    /// Calls `attempt` once, without waking any waiter: only a release does.
    fn attempt<T>(&self, attempt: impl FnOnce(&mut LockTable) -> Option<T>) -> Option<T> {
        let mut outcome = None;
        self.state.send_if_modified(|state| {
            outcome = attempt(state);
            false
        });
        outcome
    }
}

impl LockTable {
    fn is_free(&self, network: &str) -> bool {
        self.calls_on(network).is_empty()
    }

    fn calls_on(&self, network: &str) -> Vec<String> {
        self.shared
            .values()
            .filter(|holder| holder.networks.contains(network))
            .map(|holder| holder.call.clone())
            .collect()
    }
}

impl Drop for SharedNetworkLock {
    fn drop(&mut self) {
        self.state.send_modify(|state| {
            state.shared.remove(&self.id);
        });
    }
}

impl Drop for ExclusiveNetworkLock {
    fn drop(&mut self) {
        self.state.send_modify(|state| {
            state.exclusive.remove(&self.network);
        });
    }
}
