//! Reports about attachments: the network-status annotation of the pod, and events.

mod annotation;
pub(crate) mod events;
mod status_writer;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use plexus_api::cni::PluginResult;
use plexus_api::status::NETWORK_STATUS;
use plexus_api::without_os_codes;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::cluster::kube::Connection;
use crate::cluster::{Definition, Store, manifests};
use crate::model::{Attachment, PodRef};
use events::{Event, EventReason, Events, PodWarning, Subject};
pub(crate) use status_writer::{RenderStatus, StatusWrite, StatusWriteError, WriteState};
use status_writer::{StatusText, StatusWriter};

/// The largest network-status, in bytes. The API server limits the keys and values of all
/// annotations of a pod to 256 KiB (K-097).
const MAX_STATUS: usize = (256 << 10) - NETWORK_STATUS.len();
pub(crate) const STATUS_TOO_LARGE: &str = "network-status is not written: all annotations of a pod can have 256 KiB, and network-status \
                         alone is larger; select fewer networks";

/// Reports to the API server, or to files next to the manifests of a directory.
#[derive(Debug)]
pub(crate) struct Reporter {
    destination: Destination,
    events: Events,
}

/// Where network-status is written.
#[derive(Debug)]
enum Destination {
    /// Files next to the manifests. The lock keeps the writes for two sandboxes of a pod in order.
    Manifests {
        dir: PathBuf,
        lock: Mutex<()>,
    },
    Cluster(StatusWriter),
}

/// The sandbox that a network-status describes. A pod has one at a time, and gets a new one when
/// the old one fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodSandbox {
    pub(crate) pod: PodRef,
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_IFNAME`.
    pub(crate) ifname: String,
}

/// What a network-status is made of.
#[derive(Debug)]
pub(crate) struct StatusContent<'a> {
    pub(crate) entries: Vec<StatusEntry<'a>>,
    /// Whether each attachment of the sandbox has an entry.
    pub(crate) complete: bool,
}

/// An attachment in a network-status.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StatusEntry<'a> {
    pub(crate) attachment: &'a Attachment,
    pub(crate) result: &'a PluginResult,
    /// The device-info document.
    pub(crate) device_info: Option<&'a RawValue>,
}

impl Reporter {
    /// A reporter that writes network-status next to the manifests in `dir`, and only logs events.
    pub(crate) fn for_manifests(dir: PathBuf) -> Self {
        Self {
            destination: Destination::Manifests {
                dir,
                lock: Mutex::default(),
            },
            events: Events::log_only(),
        }
    }

    /// A reporter that writes network-status and events to the API server, over separate
    /// connections so that events never delay a status. `store` has the mirrors of the node's
    /// static pods, and `dropped` counts the events that could not be sent. Requires a Tokio
    /// runtime.
    pub(crate) fn for_cluster(
        connection: Arc<Connection>,
        node: &str,
        store: Store,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        let events = Events::to_cluster(connection.clone(), node, dropped);
        Self {
            destination: Destination::Cluster(StatusWriter::new(connection, store, events.clone())),
            events,
        }
    }

    /// Starts writing the status of a sandbox, and cancels an unfinished write for the same pod. A
    /// write without an answer for `overdue_after` counts as overdue. `render` renders `content`
    /// again for a retry.
    ///
    /// Writes nothing if `is_newest` returns `false`: the pod has a newer sandbox. `is_newest` is
    /// called at a point where the write of a newer sandbox can only start after this one.
    pub(crate) async fn write_network_status(
        &self,
        sandbox: PodSandbox,
        content: &StatusContent<'_>,
        render: RenderStatus,
        overdue_after: Duration,
        is_newest: impl FnOnce() -> bool + Send,
    ) -> StatusWrite {
        let Some(text) = render_status(content) else {
            self.event(
                &sandbox.pod,
                EventReason::NetworkStatusRefused,
                STATUS_TOO_LARGE,
            );
            return StatusWrite::finished(Ok(()));
        };
        match &self.destination {
            Destination::Cluster(writer) => {
                let text = StatusText::new(text, render);
                writer.write(sandbox, text, overdue_after, is_newest)
            }
            Destination::Manifests { dir, lock } => {
                let _lock = lock.lock().await;
                if !is_newest() {
                    return StatusWrite::finished(Ok(()));
                }
                let (dir, pod) = (dir.clone(), sandbox.pod);
                let write = move || manifests::write_status(&dir, &pod.namespace, &pod.name, &text);
                StatusWrite::finished(blocking(write).await.map_err(|error| error.to_string()))
            }
        }
    }

    /// Starts writing a status that an earlier daemon did not finish. Returns `None` if a write for
    /// the pod is already in progress.
    pub(crate) async fn resume_network_status(
        &self,
        sandbox: PodSandbox,
        content: &StatusContent<'_>,
        render: RenderStatus,
        overdue_after: Duration,
        is_newest: impl FnOnce() -> bool + Send,
    ) -> Option<StatusWrite> {
        if let Destination::Cluster(writer) = &self.destination
            && writer.is_pending(&sandbox.pod)
        {
            return None;
        }
        Some(
            self.write_network_status(sandbox, content, render, overdue_after, is_newest)
                .await,
        )
    }

    /// Whether a write is overdue, so that another one is likely to take as long (decision 19).
    pub(crate) fn is_overdue(&self) -> bool {
        matches!(&self.destination, Destination::Cluster(writer) if writer.is_overdue())
    }

    /// The writes of network-status that have not ended, by `namespace/name` of their pod.
    pub(crate) fn pending_statuses(&self) -> BTreeMap<String, WriteState> {
        match &self.destination {
            Destination::Cluster(writer) => writer.pending(),
            Destination::Manifests { .. } => BTreeMap::new(),
        }
    }

    /// Cancels the write for a sandbox that is being detached, and removes its file next to the
    /// manifest, unless the file belongs to a newer sandbox of the pod.
    ///
    /// If `content` is not complete, the content of the file is unknown, and the file is removed only
    /// if the status was `written`.
    pub(crate) async fn remove_network_status(
        &self,
        sandbox: PodSandbox,
        content: &StatusContent<'_>,
        written: bool,
    ) {
        let dir = match &self.destination {
            Destination::Cluster(writer) => return writer.cancel(&sandbox),
            Destination::Manifests { dir, .. } => dir.clone(),
        };
        let text = if content.complete {
            let text = render_status(content);
            // A status that is too large was not written.
            let Some(text) = text else { return };
            Some(text)
        } else if written {
            None
        } else {
            return;
        };
        let pod = sandbox.pod.clone();
        let remove =
            move || manifests::remove_status(&dir, &pod.namespace, &pod.name, text.as_deref());
        if let Err(error) = blocking(remove).await {
            tracing::warn!(pod = %sandbox.pod, %error, "cannot remove the network-status of a deleted sandbox");
        }
    }

    /// Emits an event on a pod, without waiting.
    pub(crate) fn event(&self, pod: &PodRef, reason: EventReason, message: impl Into<String>) {
        self.events.emit(Event {
            subject: Subject::Pod(pod.clone()),
            reason,
            message: without_os_codes(&message.into()).into_owned(),
        });
    }

    /// Emits an event on a definition, without waiting. All nodes that emit the same one share it.
    pub(crate) fn definition_event(
        &self,
        definition: &Definition,
        reason: EventReason,
        message: impl Into<String>,
    ) {
        self.events.emit(Event {
            subject: Subject::Definition {
                namespace: definition.namespace.clone(),
                name: definition.name.clone(),
                uid: definition.uid.clone(),
            },
            reason,
            message: without_os_codes(&message.into()).into_owned(),
        });
    }

    /// Emits an event on the node, without waiting.
    pub(crate) fn node_event(&self, reason: EventReason, message: impl Into<String>) {
        self.events.emit(Event {
            subject: Subject::Node,
            reason,
            message: without_os_codes(&message.into()).into_owned(),
        });
    }

    /// Emits an `AddedInterface` event for an attachment.
    pub(crate) fn added_interface(
        &self,
        pod: &PodRef,
        attachment: &Attachment,
        result: &PluginResult,
    ) {
        if attachment.is_reported(result.result()) {
            let text = events::added_interface(attachment, result.result());
            self.event(pod, EventReason::AddedInterface, text);
        }
    }

    /// Emits a `RemovedInterface` event for an attachment.
    pub(crate) fn removed_interface(&self, pod: &PodRef, attachment: &Attachment) {
        let text = format!("Remove {} from {}", attachment.ifname, attachment.network);
        self.event(pod, EventReason::RemovedInterface, text);
    }

    /// The newest warning of each pod for each reason, the oldest first.
    pub(crate) fn recent_warnings(&self) -> Vec<PodWarning> {
        self.events.recent()
    }

    /// The number of events that could not be sent.
    pub(crate) fn events_dropped(&self) -> u64 {
        self.events.dropped()
    }
}

/// The value of the annotation. Returns `None` if the value is too large for a pod.
pub(crate) fn render_status(content: &StatusContent<'_>) -> Option<String> {
    annotation::render(content, MAX_STATUS)
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

#[cfg(test)]
mod tests;
