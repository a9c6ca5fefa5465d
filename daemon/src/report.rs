//! What the world is told of an attachment: the network-status annotation, and events.

pub(crate) mod events;
pub(crate) mod status;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use plexus_api::cni::PluginResult;
use plexus_api::status::{NETWORK_STATUS, render};
use tokio::sync::Mutex;

use crate::cluster::kube::Connection;
use crate::cluster::{Store, manifests};
use crate::model::{Attachment, PodRef};
use events::{Event, EventReason, Events, Subject};
use writer::Writer;
pub(crate) use writer::{NotYet, Write};

/// All annotations of a pod may have this many bytes together; a larger value would be refused (K-097).
const LARGEST: usize = 256 << 10;

/// Tells about pods, beside their manifests or in their cluster.
#[derive(Debug)]
pub(crate) struct Reporter {
    form: Form,
    events: Events,
}

#[derive(Debug)]
enum Form {
    /// Where they are, and who writes there: one at a time, or an older sandbox could come in between.
    Manifests(PathBuf, Mutex<()>),
    Cluster(Writer),
}

/// Whose status it is: the sandbox of a pod. A pod has one at a time, and a new one when the old one has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SandboxRef {
    /// The pod.
    pub(crate) pod: PodRef,
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: String,
    /// `CNI_IFNAME`.
    pub(crate) ifname: String,
}

impl Reporter {
    /// For the pods in the directory `manifests`: their status goes beside them, and events go to the log.
    pub(crate) fn beside(manifests: PathBuf) -> Self {
        Self {
            form: Form::Manifests(manifests, Mutex::default()),
            events: Events::logged(),
        }
    }

    /// For the pods of `node` in a cluster. `store` has the mirrors of its static pods. It needs a Tokio runtime.
    ///
    /// The status of pods and the events have connections of their own: events never delay a status. `dropped` counts
    /// the events that are given up.
    pub(crate) fn in_cluster(
        connection: Arc<Connection>,
        node: &str,
        store: Store,
        dropped: Arc<AtomicU64>,
    ) -> Self {
        let events = Events::sent(connection.clone(), node, dropped);
        Self {
            form: Form::Cluster(Writer::new(connection, store, events.clone())),
            events,
        }
    }

    /// Begins to write the status of a sandbox whose attachments have these results, in place of what is still to be
    /// written for its pod. A write that the API server leaves unanswered for `patience` counts as overdue.
    ///
    /// There is nothing to write unless `is_newest` says of the sandbox that it is its pod's newest: asked when a newer
    /// one can only come with its own write after this one.
    pub(crate) async fn network_status(
        &self,
        sandbox: SandboxRef,
        attachments: &[Attachment],
        results: &[PluginResult],
        patience: Duration,
        is_newest: impl FnOnce() -> bool + Send,
    ) -> Write {
        let text = text(attachments, results);
        if let Some(too_large) = self.refuse_too_large(&sandbox.pod, &text) {
            return too_large;
        }
        match &self.form {
            Form::Cluster(writer) => writer.write(sandbox, text, patience, is_newest),
            Form::Manifests(dir, turn) => {
                let _turn = turn.lock().await;
                if !is_newest() {
                    return Write::finished(Ok(()));
                }
                let (dir, pod) = (dir.clone(), sandbox.pod);
                let write = move || manifests::write_status(&dir, &pod.namespace, &pod.name, &text);
                Write::finished(blocking(write).await.map_err(|error| error.to_string()))
            }
        }
    }

    /// The same for a sandbox that has waited for it since before this process began; none where its pod is being
    /// written to already.
    pub(crate) async fn resume_network_status(
        &self,
        sandbox: SandboxRef,
        attachments: &[Attachment],
        results: &[PluginResult],
        patience: Duration,
        is_newest: impl FnOnce() -> bool + Send,
    ) -> Option<Write> {
        if let Form::Cluster(writer) = &self.form
            && writer.has(&sandbox.pod)
        {
            return None;
        }
        Some(
            self.network_status(sandbox, attachments, results, patience, is_newest)
                .await,
        )
    }

    /// Whether a write is overdue: another one is likely to take as long (decision 19).
    pub(crate) fn is_overdue(&self) -> bool {
        matches!(&self.form, Form::Cluster(writer) if writer.is_overdue())
    }

    /// A sandbox is being detached: gives up what is still to be written for it, and removes what stands beside the
    /// manifest of its pod where that is of this sandbox: the pod may have a newer one. `results` lacks what is not
    /// known; whether its status was `written` decides then.
    pub(crate) async fn withdraw(
        &self,
        sandbox: SandboxRef,
        attachments: &[Attachment],
        results: &[PluginResult],
        written: bool,
    ) {
        let dir = match &self.form {
            Form::Cluster(writer) => return writer.cancel(&sandbox),
            Form::Manifests(dir, _) => dir.clone(),
        };
        let text = (results.len() == attachments.len()).then(|| text(attachments, results));
        if text.is_none() && !written {
            return;
        }
        let pod = sandbox.pod.clone();
        let remove =
            move || manifests::remove_status(&dir, &pod.namespace, &pod.name, text.as_deref());
        if let Err(error) = blocking(remove).await {
            tracing::warn!(pod = %sandbox.pod, %error, "network-status of a deleted sandbox could not be removed");
        }
    }

    /// Tells of something that happened to a pod. Never waits.
    pub(crate) fn event(&self, pod: &PodRef, reason: EventReason, message: impl Into<String>) {
        self.events.emit(Event {
            subject: Subject::Pod(pod.clone()),
            reason,
            message: message.into(),
        });
    }

    /// Tells of something that happened to the node. Never waits.
    pub(crate) fn node_event(&self, reason: EventReason, message: impl Into<String>) {
        self.events.emit(Event {
            subject: Subject::Node,
            reason,
            message: message.into(),
        });
    }

    /// Tells which addresses each attachment has got.
    pub(crate) fn attached(
        &self,
        pod: &PodRef,
        attachments: &[Attachment],
        results: &[PluginResult],
    ) {
        for (attachment, result) in attachments.iter().zip(results) {
            self.event(
                pod,
                EventReason::AddedInterface,
                events::added_interface(attachment, result.result()),
            );
        }
    }

    /// How many events were given up: the API server was away, or there were too many.
    pub(crate) fn events_dropped(&self) -> u64 {
        self.events.dropped()
    }

    fn refuse_too_large(&self, pod: &PodRef, text: &str) -> Option<Write> {
        let size = NETWORK_STATUS.len() + text.len();
        (size > LARGEST).then(|| {
            let message = format!(
                "network-status is not written: it would have {size} bytes, and the annotations of a pod may have \
                 {LARGEST}; select fewer networks"
            );
            self.event(pod, EventReason::NetworkStatusRefused, message);
            Write::finished(Ok(()))
        })
    }
}

fn text(attachments: &[Attachment], results: &[PluginResult]) -> String {
    let entries = attachments
        .iter()
        .zip(results)
        .flat_map(|(attachment, result)| {
            status::entries(
                &attachment.network,
                &attachment.ifname,
                attachment.default,
                result.result(),
                None,
            )
        });
    render(&entries.collect::<Vec<_>>())
}

async fn blocking(
    work: impl FnOnce() -> std::io::Result<()> + Send + 'static,
) -> std::io::Result<()> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
}
