//! Events on pods and on the node: what was attached, what went wrong, and the remedy. Best effort:
//! no call waits for an event, and events that cannot be sent are dropped and counted.

mod correlator;
mod object;
mod recent;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::jiff::Timestamp;
use plexus_api::cni::{CniError, CniResult, Code};
use tokio::sync::mpsc;

use crate::cluster::kube::Connection;
use crate::model::{Attachment, PodRef};
use crate::plan::WarningKind;
pub(crate) use recent::PodWarning;
use recent::RecentWarnings;
use sender::Sender;

/// The number of events that may wait in the queue.
const QUEUE_CAPACITY: usize = 512;
/// The API server's limit on the length of a message, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Something that happened to a pod, a definition or the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Event {
    pub(crate) subject: Subject,
    pub(crate) reason: EventReason,
    /// One line, with the remedy.
    pub(crate) message: String,
}

/// The part of a message that an event can have.
pub(crate) fn limit_message(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE)]
}

/// The object of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    Pod(PodRef),
    /// A network-attachment-definition.
    Definition {
        namespace: String,
        name: String,
        uid: String,
    },
    /// The node of this plexusd.
    Node,
}

/// The reasons of events. Their names are part of the interface: users filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventReason {
    /// A network was attached. The message is worded as in Multus.
    AddedInterface,
    /// A network was detached from the running pod, because its annotation no longer names it.
    RemovedInterface,
    /// The annotation of the running pod has other parameters for a network that stays as it is.
    NetworkChangeIgnored,
    /// A network-attachment-definition that the pod names does not exist.
    NoNetworkFound,
    /// An annotation of the pod is invalid.
    InvalidNetworks,
    /// The configuration of a network is invalid.
    InvalidNetworkConfig,
    /// The node's configuration forbids what the pod asks for.
    NetworkForbidden,
    /// A network was attached, but no plugin declares a capability that the pod asks for.
    CapabilityMissing,
    /// A network was not attached, because the pod has too few devices for its networks, or because
    /// its devices are not known.
    DeviceMissing,
    /// A network was attached with the device that is allocated to the pod, not the one that the pod
    /// names.
    DeviceIdIgnored,
    /// A network was attached without its device information, which is invalid.
    DeviceInfoInvalid,
    /// The default network was attached with the runtime's interface name, not the pod's.
    InterfaceNameIgnored,
    /// The default network assigned no address to the pod. containerd does not start the pod.
    AddressMissing,
    /// A network could not be attached. All networks of the pod were detached again.
    AttachFailed,
    /// A network could not be detached. The runtime retries.
    DetachFailed,
    /// A network repeatedly could not be detached. plexusd reported success to the runtime, and
    /// continues to retry.
    DetachOrphaned,
    /// A network whose ADD never succeeded could not be detached, and plexusd stopped retrying.
    DetachRetired,
    /// The pod has no network-status: the annotation is too large, or the API server rejects it.
    NetworkStatusRefused,
    /// The pod runs without its networks: it started while the runtime did not use Plexus.
    NetworksMissing,
    /// The node's runtime loads another configuration file, because the file sorts before ours.
    CNIConfigNotFirst,
    /// Another program keeps removing or changing our configuration file.
    CNIConfigConflict,
}

impl EventReason {
    /// All reasons, for the tests of the documentation.
    pub const ALL: [Self; 21] = [
        Self::AddedInterface,
        Self::RemovedInterface,
        Self::NetworkChangeIgnored,
        Self::NoNetworkFound,
        Self::InvalidNetworks,
        Self::InvalidNetworkConfig,
        Self::NetworkForbidden,
        Self::CapabilityMissing,
        Self::DeviceMissing,
        Self::DeviceIdIgnored,
        Self::DeviceInfoInvalid,
        Self::InterfaceNameIgnored,
        Self::AddressMissing,
        Self::AttachFailed,
        Self::DetachFailed,
        Self::DetachOrphaned,
        Self::DetachRetired,
        Self::NetworkStatusRefused,
        Self::NetworksMissing,
        Self::CNIConfigNotFirst,
        Self::CNIConfigConflict,
    ];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddedInterface => "AddedInterface",
            Self::RemovedInterface => "RemovedInterface",
            Self::NetworkChangeIgnored => "NetworkChangeIgnored",
            Self::NoNetworkFound => "NoNetworkFound",
            Self::InvalidNetworks => "InvalidNetworks",
            Self::InvalidNetworkConfig => "InvalidNetworkConfig",
            Self::NetworkForbidden => "NetworkForbidden",
            Self::CapabilityMissing => "CapabilityMissing",
            Self::DeviceMissing => "DeviceMissing",
            Self::DeviceIdIgnored => "DeviceIdIgnored",
            Self::DeviceInfoInvalid => "DeviceInfoInvalid",
            Self::InterfaceNameIgnored => "InterfaceNameIgnored",
            Self::AddressMissing => "AddressMissing",
            Self::AttachFailed => "AttachFailed",
            Self::DetachFailed => "DetachFailed",
            Self::DetachOrphaned => "DetachOrphaned",
            Self::DetachRetired => "DetachRetired",
            Self::NetworkStatusRefused => "NetworkStatusRefused",
            Self::NetworksMissing => "NetworksMissing",
            Self::CNIConfigNotFirst => "CNIConfigNotFirst",
            Self::CNIConfigConflict => "CNIConfigConflict",
        }
    }

    /// Whether the type of the event is `Warning`.
    pub(crate) fn is_warning(self) -> bool {
        !matches!(self, Self::AddedInterface | Self::RemovedInterface)
    }

    /// Whether another log line, of the call or of the installation, has the same information.
    fn is_logged_elsewhere(self) -> bool {
        let only_here = [
            Self::NetworkChangeIgnored,
            Self::CapabilityMissing,
            Self::DeviceIdIgnored,
            Self::DeviceInfoInvalid,
            Self::InterfaceNameIgnored,
            Self::AddressMissing,
            Self::DetachOrphaned,
            Self::DetachRetired,
            Self::NetworkStatusRefused,
        ];
        !only_here.contains(&self)
    }

    /// The event reason for an ADD that was refused with this error, and the remedy. Returns `None`
    /// if the error is transient or not about the pod.
    pub(crate) fn of_refusal(error: &CniError) -> Option<(Self, &'static str)> {
        let code = Code::ALL.into_iter().find(|code| error.is(*code))?;
        let reason_and_remedy = match code {
            Code::UnknownNetwork => (
                Self::NoNetworkFound,
                "create it, or correct the annotation of the pod",
            ),
            Code::InvalidAnnotation | Code::InterfaceTaken => {
                (Self::InvalidNetworks, "correct the annotation of the pod")
            }
            Code::IncompatibleVersion
            | Code::UnsupportedField
            | Code::Decode
            | Code::InvalidConfig => (
                Self::InvalidNetworkConfig,
                "correct the configuration of the network",
            ),
            Code::Forbidden => (
                Self::NetworkForbidden,
                "select another network, or ask the administrator",
            ),
            // The error has the next step.
            Code::DeviceMissing => (Self::DeviceMissing, "the runtime retries"),
            Code::PluginMissing => (Self::AttachFailed, "the runtime retries"),
            _ => return None,
        };
        Some(reason_and_remedy)
    }
}

impl From<WarningKind> for EventReason {
    fn from(kind: WarningKind) -> Self {
        match kind {
            WarningKind::CapabilityMissing => Self::CapabilityMissing,
            WarningKind::DeviceIdIgnored => Self::DeviceIdIgnored,
            WarningKind::InterfaceNameIgnored => Self::InterfaceNameIgnored,
        }
    }
}

/// The message of [`EventReason::AddedInterface`], as in Multus: `Add net1 [10.1.1.5/24 fd00::5/64]
/// from default/lan`.
pub(super) fn added_interface(attachment: &Attachment, result: &CniResult) -> String {
    let ips: Vec<_> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    format!(
        "Add {} [{}] from {}",
        attachment.ifname,
        ips.join(" "),
        attachment.network
    )
}

/// Emits events. Clones share the queue.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    queue: Option<mpsc::Sender<(Event, Timestamp)>>,
    dropped: Arc<AtomicU64>,
    recent: RecentWarnings,
}

impl Events {
    /// Events that are only logged.
    pub(super) fn log_only() -> Self {
        Self {
            queue: None,
            dropped: Arc::default(),
            recent: RecentWarnings::default(),
        }
    }

    /// Events that are logged, and sent to the API server on behalf of `node`.
    pub(super) fn to_cluster(
        connection: Arc<Connection>,
        node: &str,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        let (queue, events) = mpsc::channel(QUEUE_CAPACITY);
        tokio::spawn(Sender::new(connection, node, dropped.clone()).run(events));
        Self {
            queue: Some(queue),
            dropped,
            recent: RecentWarnings::default(),
        }
    }

    /// Emits an event, without waiting.
    pub(crate) fn emit(&self, event: Event) {
        let Event {
            subject,
            reason,
            message,
        } = &event;
        let (pod, definition) = match subject {
            Subject::Pod(pod) => (Some(tracing::field::display(pod)), None),
            Subject::Definition {
                namespace, name, ..
            } => (None, Some(format!("{namespace}/{name}"))),
            Subject::Node => (None, None),
        };
        if reason.is_logged_elsewhere() {
            tracing::debug!(pod, definition, reason = reason.name(), "{message}");
        } else {
            tracing::warn!(pod, definition, reason = reason.name(), "{message}");
        }
        self.recent.add(&event);
        if let Some(queue) = &self.queue
            && queue.try_send((event, Timestamp::now())).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The newest warning of each pod for each reason, the oldest first.
    pub(super) fn recent(&self) -> Vec<PodWarning> {
        self.recent.all()
    }

    /// The number of dropped events.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
