//! The runtime half of CNI: calls the plugins of an attachment in order, as the specification has a runtime do it.
//!
//! `request` derives what one plugin gets, `lookup` finds it, `exec` runs it, `answer` reads what it says, and `chain`
//! has the order of each verb.

mod answer;
mod chain;
mod exec;
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
pub(crate) use chain::wants_gc;
use network_locks::{ExclusiveNetworkLock, NetworkLocks};
pub(crate) use network_locks::{GcLock, SharedNetworkLock};
use permits::Permits;
pub(crate) use permits::{Permit, Priority};

/// Calls plugins.
#[derive(Debug, Clone)]
pub(crate) struct Delegates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bin_dirs: Vec<PathBuf>,
    plugin_timeout: Duration,
    slots: Permits,
    gates: NetworkLocks,
    mark: (&'static str, String),
    metrics: Arc<Metrics>,
}

/// What bounds the calls.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// The directories of plugins, searched before those of the runtime.
    pub(crate) bin_dirs: Vec<PathBuf>,
    /// The longest that one plugin may take.
    pub(crate) plugin_timeout: Duration,
    /// How many requests may run plugins at one time; 0 counts as 1.
    pub(crate) slots: usize,
    /// A variable that all plugins get, name and value, by which a later daemon knows them.
    pub(crate) mark: (&'static str, String),
}

/// What the calls of one request have in common.
#[derive(Debug, Clone)]
pub(crate) struct PluginCall {
    /// Where plugins are looked up and run.
    pub(crate) host: Host,
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_NETNS`, as the runtime gave it on this verb; may be absent on DEL.
    pub(crate) netns: Option<String>,
    /// The absolute directories of the runtime's `CNI_PATH`.
    pub(crate) path: Vec<PathBuf>,
    /// The environment of the caller, or what is to be passed on of it. Variables that are the daemon's to set
    /// are ignored.
    pub(crate) env: BTreeMap<String, String>,
    /// When the whole request must have ended.
    pub(crate) deadline: Instant,
    /// Kills the plugin that runs, and lets no other start.
    pub(crate) cancel: CancellationToken,
}

/// Why an ADD failed.
#[derive(Debug)]
pub(crate) struct AddError {
    /// The error for the runtime.
    pub(crate) error: CniError,
    /// Whether any plugin has been started; if not, there is nothing to undo.
    pub(crate) ran: bool,
}

/// The right of one request to run the plugins of its networks, released from top to bottom.
#[derive(Debug)]
pub(crate) struct AttachGuard {
    _permit: Permit,
    _network_locks: SharedNetworkLock,
}

/// The right to run GC of a network, released from top to bottom.
#[derive(Debug)]
pub(crate) struct GcGuard {
    _permit: Permit,
    _closed: ExclusiveNetworkLock,
}

/// An attachment that exists, as GC lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct ValidAttachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub(crate) container_id: String,
    /// The name of the interface in it.
    pub(crate) ifname: String,
}

impl Delegates {
    /// Calls plugins within `limits`, and records their runs in `metrics`.
    pub(crate) fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        let Limits {
            bin_dirs,
            plugin_timeout,
            slots,
            mark,
        } = limits;
        Self(Arc::new(Inner {
            bin_dirs,
            plugin_timeout,
            slots: Permits::new(slots),
            gates: NetworkLocks::default(),
            mark,
            metrics,
        }))
    }

    /// Waits for the right to run plugins that attach and detach nothing. It is to be held while the plugins of a request
    /// run, and not longer.
    pub(crate) async fn permit(&self, priority: Priority) -> Permit {
        self.0.slots.take(priority).await
    }

    /// The same for ADD and DEL of these attachments; waits also for GC of their networks. `call` names the request.
    pub(crate) async fn attach_guard(
        &self,
        priority: Priority,
        call: &str,
        attachments: &[Attachment],
    ) -> AttachGuard {
        // In this order: who has a slot never waits, so slots come free.
        let pass = self.lock_networks(call, attachments).await;
        AttachGuard {
            _permit: self.permit(priority).await,
            _network_locks: pass,
        }
    }

    /// Keeps GC from the networks of these attachments without running anything on them.
    pub(crate) async fn lock_networks(
        &self,
        call: &str,
        attachments: &[Attachment],
    ) -> SharedNetworkLock {
        let networks = attachments
            .iter()
            .map(|attachment| attachment.config.name.clone());
        self.0.gates.enter(call, networks.collect()).await
    }

    /// Waits for the right to be the one GC.
    pub(crate) async fn lock_gc(&self) -> GcLock<'_> {
        self.0.gates.lock_gc().await
    }

    /// Waits for the right to run GC of a network, alone on it.
    ///
    /// # Errors
    /// [`Code::TryAgain`] where calls that are on it do not end, or all slots stay taken.
    pub(crate) async fn gc_guard(
        &self,
        one: &GcLock<'_>,
        network: &str,
    ) -> Result<GcGuard, CniError> {
        let closed = self.0.gates.close(one, network).await?;
        // Before others, who wait for the network meanwhile; and not for long.
        let slot = timeout(network_locks::BARRED, self.permit(Priority::Del)).await.map_err(|_| {
            let slots = self.permits().all;
            let msg = format!(
                "network {network:?}: its plugins were not asked, other plugins hold all {slots} of maxPluginRuns; try \
                 again later"
            );
            CniError::new(Code::TryAgain, msg)
        })?;
        Ok(GcGuard {
            _permit: slot,
            _closed: closed,
        })
    }

    /// The slots, as they are now.
    pub(crate) fn permits(&self) -> PermitsReading {
        self.0.slots.reading()
    }
}
