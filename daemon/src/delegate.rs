//! Runs the plugins of an attachment, in the order that the CNI specification requires of a
//! runtime.
//!
//! `chain` runs the plugins of a network for each command, `del` for DEL, `lookup` finds the
//! executable of a plugin, `request` builds the plugin's input, `exec` runs the plugin, and `answer`
//! interprets its output. `gone` recognises the DEL error of an attachment that no longer exists.
//! `permits` and `network_locks` limit which calls run plugins at the same time.

mod answer;
mod chain;
mod del;
mod exec;
mod gone;
mod lookup;
mod network_locks;
mod permits;
mod request;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plexus_api::cni::{CniError, Code};
use serde::Serialize;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::host::Host;
use crate::model::Attachment;
use crate::telemetry::{Metrics, PermitsReading};
pub(crate) use chain::{wants_check, wants_gc};
use network_locks::{BLOCKING_WAIT, ExclusiveNetworkLock, NetworkLocks};
pub(crate) use network_locks::{GcLock, SharedNetworkLock};
use permits::Permits;
pub(crate) use permits::{Permit, Priority};

/// Runs plugins.
#[derive(Debug, Clone)]
pub(crate) struct Delegates(Arc<DelegatesInner>);

#[derive(Debug)]
struct DelegatesInner {
    bin_dirs: Vec<PathBuf>,
    plugin_timeout: Duration,
    permits: Permits,
    network_locks: NetworkLocks,
    marker: (&'static str, String),
    metrics: Arc<Metrics>,
}

#[derive(Debug, Clone)]
pub(crate) struct PluginSettings {
    /// The plugin directories, searched before those of the runtime.
    pub(crate) bin_dirs: Vec<PathBuf>,
    /// The time limit for one run of one plugin.
    pub(crate) plugin_timeout: Duration,
    /// How many calls may run plugins at the same time; 0 counts as 1.
    pub(crate) permits: usize,
    /// The name and value of the marker: an environment variable of all plugins, by which a later
    /// daemon finds plugins that survived this one.
    pub(crate) marker: (&'static str, String),
}

/// The input that all plugins of one call share.
#[derive(Debug, Clone)]
pub(crate) struct PluginCall {
    pub(crate) host: Host,
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_NETNS`, as the runtime passed it with this command; may be `None` for DEL.
    pub(crate) netns: Option<String>,
    /// The absolute directories of the runtime's `CNI_PATH`.
    pub(crate) path: Vec<PathBuf>,
    /// The environment of the caller. Variables that the daemon sets itself are ignored.
    pub(crate) env: BTreeMap<String, String>,
    /// The deadline of the whole call.
    pub(crate) deadline: Instant,
    /// Kills the running plugin and prevents further ones from starting.
    pub(crate) cancel: CancellationToken,
}

/// A failed ADD.
#[derive(Debug)]
pub(crate) struct AddError {
    /// The error for the runtime.
    pub(crate) error: CniError,
    /// Whether a plugin was started; if not, there is nothing to undo.
    pub(crate) ran: bool,
}

/// A permit and the shared locks of the networks: needed to run ADD and DEL of plugins.
#[derive(Debug)]
pub(crate) struct AttachGuard {
    // Released in this order.
    _permit: Permit,
    _network_locks: SharedNetworkLock,
}

/// A permit and the exclusive lock of a network: needed to run GC of its plugins.
#[derive(Debug)]
pub(crate) struct GcGuard {
    // Released in this order.
    _permit: Permit,
    _network_lock: ExclusiveNetworkLock,
}

/// An existing attachment in the list that GC passes to plugins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct ValidAttachment {
    #[serde(rename = "containerID")]
    pub(crate) container_id: String,
    pub(crate) ifname: String,
}

impl Delegates {
    pub(crate) fn new(settings: PluginSettings, metrics: Arc<Metrics>) -> Self {
        let PluginSettings {
            bin_dirs,
            plugin_timeout,
            permits,
            marker,
        } = settings;
        Self(Arc::new(DelegatesInner {
            bin_dirs,
            plugin_timeout,
            permits: Permits::new(permits),
            network_locks: NetworkLocks::default(),
            marker,
            metrics,
        }))
    }

    /// Waits for a permit to run plugins that neither attach nor detach. Callers hold the permit
    /// only while the plugins of the call run.
    pub(crate) async fn permit(&self, priority: Priority) -> Permit {
        self.0.permits.acquire(priority).await
    }

    /// Waits until ADD or DEL of these attachments may run. `call` names the call in the errors of
    /// a waiting GC.
    pub(crate) async fn attach_guard(
        &self,
        priority: Priority,
        call: &str,
        attachments: &[Attachment],
    ) -> AttachGuard {
        // Locks first: a call that holds a permit never waits, so permits are always released.
        let network_locks = self.lock_networks(call, attachments).await;
        AttachGuard {
            _permit: self.permit(priority).await,
            _network_locks: network_locks,
        }
    }

    /// Waits for the shared locks of these attachments' networks, without a permit to run plugins.
    pub(crate) async fn lock_networks(
        &self,
        call: &str,
        attachments: &[Attachment],
    ) -> SharedNetworkLock {
        let networks = attachments
            .iter()
            .map(|attachment| attachment.config.name.clone())
            .collect();
        self.0.network_locks.acquire_shared(call, networks).await
    }

    /// Waits until no other GC is running.
    pub(crate) async fn lock_gc(&self) -> GcLock<'_> {
        self.0.network_locks.lock_gc().await
    }

    /// Waits until GC of `network` may run.
    ///
    /// # Errors
    /// [`Code::TryAgain`] if calls of this network do not finish, or no permit becomes free.
    pub(crate) async fn gc_guard(
        &self,
        gc: &GcLock<'_>,
        network: &str,
    ) -> Result<GcGuard, CniError> {
        let network_lock = self.0.network_locks.acquire_exclusive(gc, network).await?;
        // Other calls wait for the network: hence the priority of DEL and the short timeout.
        let permit = timeout(BLOCKING_WAIT, self.permit(Priority::Del))
            .await
            .map_err(|_| {
                let msg = format!(
                    "network {network:?}: GC did not run because other calls hold all {} permits \
                     (maxPluginRuns); retry later",
                    self.permits().total
                );
                CniError::new(Code::TryAgain, msg)
            })?;
        Ok(GcGuard {
            _permit: permit,
            _network_lock: network_lock,
        })
    }

    pub(crate) fn permits(&self) -> PermitsReading {
        self.0.permits.reading()
    }
}
