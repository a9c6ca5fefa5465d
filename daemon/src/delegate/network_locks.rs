//! Locks of networks: ADD and DEL hold shared locks, GC holds an exclusive lock.
//!
//! The specification forbids other commands during GC. A plugin's GC deletes all attachments that
//! are not on its list, including attachments made after the list was read.
//!
//! GC first waits until there are no shared locks while new calls still get theirs, so that one
//! plugin that hangs does not block the node. If that never happens because calls overlap, GC
//! blocks new calls for a short time. After that, GC gives up.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::timeout;

/// How long GC waits for a network while new calls still get shared locks.
const NON_BLOCKING_WAIT: Duration = Duration::from_secs(5);
/// How long GC may block new calls before it runs. Most plugins are faster, so the network is free
/// by then unless a plugin hangs.
pub(super) const BLOCKING_WAIT: Duration = Duration::from_secs(1);

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
pub(crate) struct GcLock<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

/// The exclusive lock of a network. Shared locks wait until it is dropped.
#[derive(Debug)]
pub(super) struct ExclusiveNetworkLock {
    state: watch::Sender<LockTable>,
    network: String,
}

impl NetworkLocks {
    /// Waits until no GC holds any of `networks`, and locks all of them at once. `call` names the
    /// call in the errors of a waiting GC.
    pub(super) async fn acquire_shared(
        &self,
        call: &str,
        networks: BTreeSet<String>,
    ) -> SharedNetworkLock {
        let acquire = |state: &mut LockTable| {
            if !state.exclusive.is_disjoint(&networks) {
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
        let on_wait = || tracing::debug!(call, ?networks, "waiting for GC of the call's networks");
        SharedNetworkLock {
            id: self.wait_until(acquire, on_wait).await,
            state: self.state.clone(),
        }
    }

    /// Waits until no other GC is running. Calls blocked by one GC get their locks before the next
    /// GC begins.
    pub(super) async fn lock_gc(&self) -> GcLock<'_> {
        GcLock(self.gc.lock().await)
    }

    /// Waits until no call holds the network, and locks it.
    ///
    /// # Errors
    /// [`Code::TryAgain`] with the calls that still hold the network.
    pub(super) async fn acquire_exclusive(
        &self,
        _: &GcLock<'_>,
        network: &str,
    ) -> Result<ExclusiveNetworkLock, CniError> {
        let lock = |state: &mut LockTable| {
            state.exclusive.insert(network.to_owned());
            ExclusiveNetworkLock {
                state: self.state.clone(),
                network: network.to_owned(),
            }
        };
        let lock_if_free = |state: &mut LockTable| state.is_free(network).then(|| lock(state));
        let on_wait = || {
            let calls = self.state.borrow().calls_on(network).join(", ");
            tracing::debug!(network, calls, "GC waits for the calls in flight");
        };
        let free = self.wait_until(lock_if_free, on_wait);
        if let Ok(locked) = timeout(NON_BLOCKING_WAIT, free).await {
            return Ok(locked);
        }
        let locked = self.wait_until(|state| Some(lock(state)), || {}).await;
        let free = self.wait_until(|state| state.is_free(network).then_some(()), || {});
        if timeout(BLOCKING_WAIT, free).await.is_ok() {
            return Ok(locked);
        }
        let calls = self.state.borrow().calls_on(network).join(", ");
        Err(CniError::new(
            Code::TryAgain,
            format!(
                "network {network:?}: GC did not run because {calls} did not finish; retry later"
            ),
        ))
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
            let mut outcome = None;
            self.state.send_if_modified(|state| {
                outcome = attempt(state);
                // Waiters are woken only by a release.
                false
            });
            if let Some(outcome) = outcome {
                return outcome;
            }
            if let Some(on_wait) = on_wait.take() {
                on_wait();
            }
            // Fails only without a sender, and `self.state` is one.
            let _ = released.changed().await;
        }
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
