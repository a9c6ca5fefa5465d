//! Events on pods and on the node: what was attached, and what went wrong and what to do about it. Best effort: nothing
//! waits for them, and what cannot be sent is dropped and counted.

mod limits;
mod object;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::jiff::Timestamp;
use plexus_api::cni::{CniError, CniResult, Code};
use tokio::sync::mpsc;

use crate::cluster::kube::Connection;
use crate::model::{Attachment, PodRef};
use crate::plan::WarningKind;
use sender::Sender;

/// How many events may wait to be sent.
const QUEUE: usize = 512;

/// Something that happened to a pod or to the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// What it happened to.
    pub(crate) subject: Subject,
    /// What kind of thing.
    pub(crate) reason: EventReason,
    /// What, with what to do about it; one line.
    pub(crate) message: String,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A pod.
    Pod(PodRef),
    /// The node that plexusd runs on.
    Node,
}

/// The kinds of events. Their names are stable: people filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventReason {
    /// A network was attached; worded as Multus does.
    AddedInterface,
    /// A network-attachment-definition that the pod names does not exist.
    NoNetworkFound,
    /// An annotation of the pod cannot be read or asks for what cannot be.
    InvalidNetworks,
    /// The configuration of a network is wrong.
    InvalidNetworkConfig,
    /// The node's configuration does not allow what the pod asks for.
    NetworkForbidden,
    /// A network was attached without something that the pod asks for: no plugin declares the capability.
    CapabilityMissing,
    /// The default network was attached under the runtime's name, not the one that the pod asks for.
    InterfaceNameIgnored,
    /// A network could not be attached; all of the pod's were detached again.
    AttachFailed,
    /// A network could not be detached; the runtime tries again.
    DetachFailed,
    /// A network could still not be detached; the pod was let go, and the node tries again alone.
    DetachOrphaned,
    /// The pod has no network-status, because the annotation is too large or the API server refuses it.
    NetworkStatusRefused,
    /// The pod runs without its networks: it started while the runtime did not know of Plexus.
    NetworksMissing,
    /// The node's runtime loads another file than ours, because its name comes first.
    CNIConfigNotFirst,
    /// Others keep taking our file away from the node's runtime.
    CNIConfigConflict,
}

impl EventReason {
    /// Every reason, for the documentation and its test.
    pub const ALL: [Self; 14] = [
        Self::AddedInterface,
        Self::NoNetworkFound,
        Self::InvalidNetworks,
        Self::InvalidNetworkConfig,
        Self::NetworkForbidden,
        Self::CapabilityMissing,
        Self::InterfaceNameIgnored,
        Self::AttachFailed,
        Self::DetachFailed,
        Self::DetachOrphaned,
        Self::NetworkStatusRefused,
        Self::NetworksMissing,
        Self::CNIConfigNotFirst,
        Self::CNIConfigConflict,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddedInterface => "AddedInterface",
            Self::NoNetworkFound => "NoNetworkFound",
            Self::InvalidNetworks => "InvalidNetworks",
            Self::InvalidNetworkConfig => "InvalidNetworkConfig",
            Self::NetworkForbidden => "NetworkForbidden",
            Self::CapabilityMissing => "CapabilityMissing",
            Self::InterfaceNameIgnored => "InterfaceNameIgnored",
            Self::AttachFailed => "AttachFailed",
            Self::DetachFailed => "DetachFailed",
            Self::DetachOrphaned => "DetachOrphaned",
            Self::NetworkStatusRefused => "NetworkStatusRefused",
            Self::NetworksMissing => "NetworksMissing",
            Self::CNIConfigNotFirst => "CNIConfigNotFirst",
            Self::CNIConfigConflict => "CNIConfigConflict",
        }
    }

    /// Whether something is wrong.
    pub(crate) fn is_warning(self) -> bool {
        self != Self::AddedInterface
    }

    /// Whether another line of the log says it anyway: that of the call, or that of the installation.
    fn has_log_line(self) -> bool {
        let others = [
            Self::CapabilityMissing,
            Self::InterfaceNameIgnored,
            Self::DetachOrphaned,
            Self::NetworkStatusRefused,
        ];
        !others.contains(&self)
    }

    /// The reason of a refusal before anything ran, and what to do; none for what passes by itself or is not about the
    /// pod.
    pub(crate) fn of_refusal(error: &CniError) -> Option<(Self, &'static str)> {
        let network = (
            Self::InvalidNetworkConfig,
            "correct the configuration of the network",
        );
        let annotation = (Self::InvalidNetworks, "correct the annotation of the pod");
        let reasons = [
            (
                Code::UnknownNetwork,
                (
                    Self::NoNetworkFound,
                    "create it, or correct the annotation of the pod",
                ),
            ),
            (Code::InvalidAnnotation, annotation),
            (Code::InterfaceTaken, annotation),
            (Code::IncompatibleVersion, network),
            (Code::UnsupportedField, network),
            (Code::Decode, network),
            (Code::InvalidConfig, network),
            (
                Code::Forbidden,
                (
                    Self::NetworkForbidden,
                    "select another network, or ask the administrator",
                ),
            ),
            (
                Code::PluginMissing,
                (Self::AttachFailed, "install the plugin on the node"),
            ),
        ];
        reasons
            .into_iter()
            .find(|(code, _)| error.is(*code))
            .map(|(_, reason)| reason)
    }
}

impl From<WarningKind> for EventReason {
    fn from(kind: WarningKind) -> Self {
        match kind {
            WarningKind::CapabilityMissing => Self::CapabilityMissing,
            WarningKind::InterfaceNameIgnored => Self::InterfaceNameIgnored,
        }
    }
}

/// As Multus words it: `Add net1 [10.1.1.5/24 fd00::5/64] from default/lan`.
pub(super) fn added_interface(attachment: &Attachment, result: &CniResult) -> String {
    let ips: Vec<_> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    format!(
        "Add {} [{}] from {}",
        attachment.ifname,
        ips.join(" "),
        attachment.network
    )
}

/// Takes events and tells of them; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    queue: Option<mpsc::Sender<(Event, Timestamp)>>,
    dropped: Arc<AtomicU64>,
}

impl Events {
    /// Events that only go to the log.
    pub(super) fn logged() -> Self {
        Self {
            queue: None,
            dropped: Arc::default(),
        }
    }

    /// Events that go to the log and to an API server, on behalf of `node`.
    pub(super) fn sent(connection: Arc<Connection>, node: &str, dropped: Arc<AtomicU64>) -> Self {
        let (queue, events) = mpsc::channel(QUEUE);
        tokio::spawn(Sender::new(connection, node, dropped.clone()).run(events));
        Self {
            queue: Some(queue),
            dropped,
        }
    }

    /// Tells of an event. Never waits.
    pub(crate) fn emit(&self, event: Event) {
        let Event {
            subject,
            reason,
            message,
        } = &event;
        let pod = match subject {
            Subject::Pod(pod) => Some(tracing::field::display(pod)),
            Subject::Node => None,
        };
        if reason.has_log_line() {
            tracing::debug!(pod, reason = reason.name(), "{message}");
        } else {
            tracing::warn!(pod, reason = reason.name(), "{message}");
        }
        if let Some(queue) = &self.queue
            && queue.try_send((event, Timestamp::now())).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were given up.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
