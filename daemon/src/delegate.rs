//! The runtime half of CNI: calls the plugins of an attachment in order, as the specification has a runtime do it.
//!
//! `request` derives what one plugin gets, `lookup` finds it, `exec` runs it, `answer` reads what it says, and `chain`
//! has the order of each verb.

mod answer;
mod chain;
mod exec;
mod gates;
mod lookup;
mod request;
mod slots;
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
use crate::plan::Attachment;
use crate::telemetry::{Metrics, SlotsReading};
pub use chain::wants_gc;
use gates::{Closed, Gates};
pub use gates::{OneGc, Pass};
use slots::Slots;
pub use slots::{Priority, Slot};

/// Calls plugins.
#[derive(Debug, Clone)]
pub struct Delegates(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bin_dirs: Vec<PathBuf>,
    plugin_timeout: Duration,
    slots: Slots,
    gates: Gates,
    mark: (&'static str, String),
    metrics: Arc<Metrics>,
}

/// What bounds the calls.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The directories of plugins, searched before those of the runtime.
    pub bin_dirs: Vec<PathBuf>,
    /// The longest that one plugin may take.
    pub plugin_timeout: Duration,
    /// How many requests may run plugins at one time; 0 counts as 1.
    pub slots: usize,
    /// A variable that all plugins get, name and value, by which a later daemon knows them.
    pub mark: (&'static str, String),
}

/// What the calls of one request have in common.
#[derive(Debug, Clone)]
pub struct Call {
    /// Where plugins are looked up and run.
    pub host: Host,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`, as the runtime gave it on this verb; may be absent on DEL.
    pub netns: Option<String>,
    /// The absolute directories of the runtime's `CNI_PATH`.
    pub path: Vec<PathBuf>,
    /// The environment of the caller, or what is to be passed on of it. Variables that are the daemon's to set
    /// are ignored.
    pub env: BTreeMap<String, String>,
    /// When the whole request must have ended.
    pub deadline: Instant,
    /// Kills the plugin that runs, and lets no other start.
    pub cancel: CancellationToken,
}

/// Why an ADD failed.
#[derive(Debug)]
pub struct AddError {
    /// The error for the runtime.
    pub error: CniError,
    /// Whether any plugin has been started; if not, there is nothing to undo.
    pub ran: bool,
}

/// The right of one request to run the plugins of its networks, released from top to bottom.
#[derive(Debug)]
pub struct Turn {
    _slot: Slot,
    _pass: Pass,
}

/// The right to run GC of a network, released from top to bottom.
#[derive(Debug)]
pub struct Alone {
    _slot: Slot,
    _closed: Closed,
}

/// An attachment that exists, as GC lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ValidAttachment {
    /// The container.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The name of the interface in it.
    pub ifname: String,
}

impl Delegates {
    /// Calls plugins within `limits`, and records their runs in `metrics`.
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        let Limits {
            bin_dirs,
            plugin_timeout,
            slots,
            mark,
        } = limits;
        Self(Arc::new(Inner {
            bin_dirs,
            plugin_timeout,
            slots: Slots::new(slots),
            gates: Gates::default(),
            mark,
            metrics,
        }))
    }

    /// Waits for the right to run plugins that attach and detach nothing. It is to be held while the plugins of a request
    /// run, and not longer.
    pub async fn slot(&self, priority: Priority) -> Slot {
        self.0.slots.take(priority).await
    }

    /// The same for ADD and DEL of these attachments; waits also for GC of their networks. `call` names the request.
    pub async fn turn(&self, priority: Priority, call: &str, attachments: &[Attachment]) -> Turn {
        // In this order: who has a slot never waits, so slots come free.
        let pass = self.pass(call, attachments).await;
        Turn {
            _slot: self.slot(priority).await,
            _pass: pass,
        }
    }

    /// Keeps GC from the networks of these attachments without running anything on them.
    pub async fn pass(&self, call: &str, attachments: &[Attachment]) -> Pass {
        let networks = attachments
            .iter()
            .map(|attachment| attachment.config.name.clone());
        self.0.gates.enter(call, networks.collect()).await
    }

    /// Waits for the right to be the one GC.
    pub async fn one_gc(&self) -> OneGc<'_> {
        self.0.gates.one_gc().await
    }

    /// Waits for the right to run GC of a network, alone on it.
    ///
    /// # Errors
    /// [`Code::TryAgain`] where calls that are on it do not end, or all slots stay taken.
    pub async fn alone(&self, one: &OneGc<'_>, network: &str) -> Result<Alone, CniError> {
        let closed = self.0.gates.close(one, network).await?;
        // Before others, who wait for the network meanwhile; and not for long.
        let slot = timeout(gates::BARRED, self.slot(Priority::Del)).await.map_err(|_| {
            let slots = self.slots().all;
            let msg = format!(
                "network {network:?}: its plugins were not asked, other plugins hold all {slots} of maxPluginRuns; try \
                 again later"
            );
            CniError::new(Code::TryAgain, msg)
        })?;
        Ok(Alone {
            _slot: slot,
            _closed: closed,
        })
    }

    /// The slots, as they are now.
    pub fn slots(&self) -> SlotsReading {
        self.0.slots.reading()
    }
}
