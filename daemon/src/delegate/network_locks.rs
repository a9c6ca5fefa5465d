//! Who runs plugins on which network: calls that attach and detach side by side, GC alone. The specification wants it so,
//! and a plugin's GC deletes what is not on its list: what was made since the list was, too.
//!
//! GC waits for a moment at which nobody is on the network and lets newcomers pass meanwhile, so that one plugin that
//! hangs does not stop a node. Where there is no such moment for a while, because calls overlap without end, newcomers
//! wait once, for a short time; then GC gives up.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::time::timeout;

/// How long GC waits while others pass.
const POLITE: Duration = Duration::from_secs(5);
/// How long newcomers wait for a GC that is not at work yet. Plugins are mostly faster than that, so the network is free
/// by then unless one hangs.
pub(super) const BARRED: Duration = Duration::from_secs(1);

/// The gates of all networks, by the name in their configuration: by that plugins keep what they know, whatever
/// definition it comes from.
#[derive(Debug, Default)]
pub(super) struct NetworkLocks {
    state: watch::Sender<State>,
    gc: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    inside: BTreeMap<u64, SharedHolder>,
    closed: BTreeSet<String>,
}

#[derive(Debug)]
struct SharedHolder {
    call: String,
    networks: BTreeSet<String>,
}

/// The right to attach to and detach from some networks. GC of these waits until it is dropped.
#[derive(Debug)]
pub(crate) struct SharedNetworkLock {
    state: watch::Sender<State>,
    id: u64,
}

/// The right to be the one GC.
#[derive(Debug)]
pub(crate) struct GcLock<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

/// A network on which nobody else is. Who comes waits until it is dropped.
#[derive(Debug)]
pub(super) struct ExclusiveNetworkLock {
    state: watch::Sender<State>,
    network: String,
}

impl NetworkLocks {
    /// Goes onto all of these networks at once, when GC works on none of them. `call` is what a GC says it waits for.
    pub(super) async fn enter(&self, call: &str, networks: BTreeSet<String>) -> SharedNetworkLock {
        let admit = |state: &mut State| {
            let id = state.closed.is_disjoint(&networks).then_some(state.next)?;
            state.next += 1;
            state.inside.insert(
                id,
                SharedHolder {
                    call: call.to_owned(),
                    networks: networks.clone(),
                },
            );
            Some(id)
        };
        let id = self
            .until(admit, || {
                tracing::debug!(call, ?networks, "a call waits for GC of its networks");
            })
            .await;
        SharedNetworkLock {
            state: self.state.clone(),
            id,
        }
    }

    /// Waits until no other GC is under way: newcomers whom one has kept waiting are to pass before the next begins.
    pub(super) async fn lock_gc(&self) -> GcLock<'_> {
        GcLock(self.gc.lock().await)
    }

    /// Waits until nobody is on the network, and lets nobody onto it then.
    ///
    /// # Errors
    /// [`Code::TryAgain`] names the calls that did not leave it.
    pub(super) async fn close(
        &self,
        _: &GcLock<'_>,
        network: &str,
    ) -> Result<ExclusiveNetworkLock, CniError> {
        let shut = |state: &mut State| {
            state.closed.insert(network.to_owned());
            ExclusiveNetworkLock {
                state: self.state.clone(),
                network: network.to_owned(),
            }
        };
        let waits = || {
            let calls = self.state.borrow().calls_on(network).join(", ");
            tracing::debug!(network, calls, "GC waits for the calls in flight");
        };
        let free = self.until(
            |state| state.calls_on(network).is_empty().then(|| shut(state)),
            waits,
        );
        if let Ok(closed) = timeout(POLITE, free).await {
            return Ok(closed);
        }
        let closed = self.until(|state| Some(shut(state)), || {}).await;
        let empty = self.until(
            |state| state.calls_on(network).is_empty().then_some(()),
            || {},
        );
        if timeout(BARRED, empty).await.is_ok() {
            return Ok(closed);
        }
        let calls = self.state.borrow().calls_on(network).join(", ");
        let msg = format!(
            "network {network:?}: its plugins were not asked, {calls} did not end; try again later"
        );
        Err(CniError::new(Code::TryAgain, msg))
    }

    /// Tries now and after each change until there is an outcome. Calls `waits` where there is none at first.
    async fn until<T>(
        &self,
        mut attempt: impl FnMut(&mut State) -> Option<T>,
        waits: impl FnOnce(),
    ) -> T {
        let mut changes = self.state.subscribe();
        let mut waits = Some(waits);
        loop {
            let mut outcome = None;
            self.state.send_if_modified(|state| {
                outcome = attempt(state);
                // Nobody waits for others to come, or for a gate to close.
                false
            });
            if let Some(outcome) = outcome {
                return outcome;
            }
            if let Some(waits) = waits.take() {
                waits();
            }
            // It fails without a sender, and there is our own.
            let _ = changes.changed().await;
        }
    }
}

impl State {
    fn calls_on(&self, network: &str) -> Vec<String> {
        let inside = self
            .inside
            .values()
            .filter(|visitor| visitor.networks.contains(network));
        inside.map(|visitor| visitor.call.clone()).collect()
    }
}

impl Drop for SharedNetworkLock {
    fn drop(&mut self) {
        self.state.send_modify(|state| {
            state.inside.remove(&self.id);
        });
    }
}

impl Drop for ExclusiveNetworkLock {
    fn drop(&mut self) {
        self.state.send_modify(|state| {
            state.closed.remove(&self.network);
        });
    }
}
