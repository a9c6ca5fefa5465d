//! Runs the plugins of an attachment, in the order that the CNI specification requires of a
//! runtime.
//!
//! `chain` runs the plugins of a network for each command, `del` for DEL, `lookup` finds the
//! executable of a plugin, `request` builds the plugin's input, `exec` runs the plugin, and `answer`
//! interprets its output. `gone` recognises the DEL error of an attachment that no longer exists.
//! `permits`, `groups` and `network_locks` limit which calls run plugins at the same time.

mod answer;
mod chain;
mod del;
mod exec;
mod gone;
mod groups;
mod lookup;
mod network_locks;
mod permits;
mod request;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use plexus_api::cni::CniError;
use serde::Serialize;

use crate::call_limits::{CallLimits, Resource, WaitError};
use crate::host::Host;
use crate::model::{Attachment, PodRef};
use crate::telemetry::{Metrics, PermitsReading};
pub(crate) use chain::{wants_check, wants_gc};
use groups::Group;
use network_locks::NetworkLocks;
pub(crate) use network_locks::{GcGuard, GcLock, SharedNetworkLock};
pub(crate) use permits::Priority;
use permits::{Permit, Permits};

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
    ledger_lock: Weak<File>,
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
    /// The lock that the later daemon waits for. A plugin that is about to start has it.
    pub(crate) ledger_lock: Weak<File>,
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
    /// The end of the limits kills the running plugin and prevents further ones from starting.
    pub(crate) limits: CallLimits,
}

/// A failed ADD.
#[derive(Debug)]
pub(crate) struct AddError {
    /// The error for the runtime.
    pub(crate) error: CniError,
    /// Whether a plugin was started; if not, there is nothing to undo.
    pub(crate) ran: bool,
}

/// A failed DEL.
#[derive(Debug)]
pub(crate) struct DelError {
    pub(crate) error: CniError,
    /// Whether the plugin ran; if not, the plugin is missing or could not be started.
    pub(crate) ran: bool,
    /// Whether the plugin itself reported the failure; if not, the plugin was killed or did not run.
    pub(crate) refused: bool,
}

/// A permit and the shared locks of the networks: needed to run ADD, CHECK and DEL of plugins.
#[derive(Debug)]
pub(crate) struct AttachGuard {
    // Released in this order.
    _permit: Permit,
    _network_locks: SharedNetworkLock,
}

/// The attachments whose plugins run under an [`AttachGuard`].
#[derive(Debug)]
pub(crate) struct GuardScope {
    groups: BTreeSet<Group>,
    /// The names in the configurations, under which plugins keep their state.
    networks: BTreeSet<String>,
}

impl GuardScope {
    pub(crate) fn new(pod: &PodRef, attachments: &[Attachment]) -> Self {
        Self {
            groups: Group::of(&pod.namespace, attachments),
            networks: attachments
                .iter()
                .map(|attachment| attachment.config.name.clone())
                .collect(),
        }
    }

    /// The same scope, with further attachments of the pod.
    #[must_use]
    pub(crate) fn with(mut self, pod: &PodRef, attachments: &[Attachment]) -> Self {
        let further = Self::new(pod, attachments);
        self.groups.extend(further.groups);
        self.networks.extend(further.networks);
        self
    }
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
            ledger_lock,
        } = settings;
        Self(Arc::new(DelegatesInner {
            bin_dirs,
            plugin_timeout,
            permits: Permits::new(permits),
            network_locks: NetworkLocks::default(),
            marker,
            ledger_lock,
            metrics,
        }))
    }

    /// Waits until plugins may run within this scope. Holds nothing while it waits.
    ///
    /// # Errors
    /// The limits ended the wait.
    pub(crate) async fn attach_guard(
        &self,
        priority: Priority,
        scope: &GuardScope,
        limits: &CallLimits,
    ) -> Result<AttachGuard, WaitError> {
        let (permits, locks) = (&self.0.permits, &self.0.network_locks);
        loop {
            let permit = permits.acquire(priority, &scope.groups, limits).await?;
            if let Some(network_locks) = locks.try_acquire_shared(&limits.call, &scope.networks) {
                return Ok(AttachGuard {
                    _permit: permit,
                    _network_locks: network_locks,
                });
            }
            drop(permit);
            locks.wait_for_gc(&scope.networks, limits).await?;
        }
    }

    /// Returns `None` if the call would have to wait.
    pub(crate) fn try_attach_guard(&self, scope: &GuardScope, call: &str) -> Option<AttachGuard> {
        Some(AttachGuard {
            _permit: self.0.permits.try_acquire(&scope.groups, call)?,
            _network_locks: self.try_lock_networks(scope, call)?,
        })
    }

    /// Locks the networks of the scope against GC, without a permit to run plugins. Returns `None`
    /// while GC runs on one of them.
    pub(crate) fn try_lock_networks(
        &self,
        scope: &GuardScope,
        call: &str,
    ) -> Option<SharedNetworkLock> {
        self.0
            .network_locks
            .try_acquire_shared(call, &scope.networks)
    }

    /// Waits until no other GC is running.
    ///
    /// # Errors
    /// The limits ended the wait.
    pub(crate) async fn lock_gc(&self, limits: &CallLimits) -> Result<GcLock<'_>, WaitError> {
        let other = || Resource::held("GC", ["another GC".to_owned()]);
        limits.wait(self.0.network_locks.lock_gc(), other).await
    }

    /// Waits until GC may run on `network`. GC needs no permit, because it runs one plugin at a
    /// time: calls that hold all permits do not stop it.
    ///
    /// # Errors
    /// The calls of this network do not finish, or the limits ended the wait.
    pub(crate) async fn gc_guard<'a>(
        &self,
        gc: &'a GcLock<'_>,
        network: &str,
        limits: &CallLimits,
    ) -> Result<GcGuard<'a>, WaitError> {
        let turn = || Resource::new("GC of the other networks");
        limits
            .wait(self.0.network_locks.acquire_exclusive(gc, network), turn)
            .await
            .flatten()
    }

    pub(crate) fn permits(&self) -> PermitsReading {
        self.0.permits.reading()
    }
}
