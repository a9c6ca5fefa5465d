//! What recovery does to one record or one spooled call: finish what was left half done.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use plexus_api::wire::Request;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::dispatch::dispatch;
use super::undo::{Undo, undo};
use crate::context::Context;
use crate::delegate::Priority;
use crate::host::Host;
use crate::ledger::{Key, Record, Spooled};
use crate::netns::Netns;
use crate::telemetry::CallSpan;

/// Why recovery undoes a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CleanupReason {
    /// Its ADD never answered.
    Unfinished,
    /// Its DEL never answered.
    Begun,
    /// Its DEL failed.
    Failed,
    /// Its sandbox is gone.
    Dead,
}

impl CleanupReason {
    /// The word for it in the metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished",
            Self::Begun => "begun",
            Self::Failed => "failed",
            Self::Dead => "dead",
        }
    }
}

/// A record that is to be undone, as recovery saw it.
#[derive(Debug)]
pub(crate) struct Leftover {
    key: Key,
    created_unix_ms: u64,
    reason: CleanupReason,
}

impl Leftover {
    /// This record.
    pub(crate) fn new(record: &Record, reason: CleanupReason) -> Self {
        let planned = &record.planned;
        let key = (planned.container_id.clone(), planned.ifname.clone());
        Self {
            key,
            created_unix_ms: planned.created_unix_ms,
            reason,
        }
    }

    /// Whether `record` is still what was seen: an ADD that was in flight may have finished since, and a key can come
    /// back with another sandbox.
    fn is(&self, record: &Record) -> bool {
        let still = match self.reason {
            CleanupReason::Unfinished => !record.completed,
            CleanupReason::Begun => record.deleting,
            CleanupReason::Failed => record.del_failures.count > 0,
            CleanupReason::Dead => true,
        };
        still && record.planned.created_unix_ms == self.created_unix_ms
    }
}

impl Context {
    /// Undoes a record, with plugins on `host`, unless it is no longer what recovery saw.
    pub(crate) async fn recover(&self, leftover: Leftover, host: Host, stop: &CancellationToken) {
        let (reason, (container_id, ifname)) = (leftover.reason, &leftover.key);
        let lock = self.ledger.lock_container(container_id).await;
        let record = match lock.load(ifname) {
            Ok(Some(record)) => record,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(container_id, ifname, %error, "recovery: the record cannot be read");
                return;
            }
        };
        if !leftover.is(&record) || stop.is_cancelled() {
            return;
        }
        let pod = record.planned.pod.clone();
        let call = format!("recovery of pod {pod}");
        let _guard = self
            .node
            .delegates
            .attach_guard(Priority::Recovery, &call, &record.planned.attachments)
            .await;
        let netns = if reason == CleanupReason::Dead {
            None
        } else {
            self.recorded_netns(&record, &host).await
        };
        let how = Undo {
            host,
            netns,
            path: Vec::new(),
            env: BTreeMap::new(),
        };
        let undone = undo(self, &lock, record, how, self.node.settings.del_timeout).await;
        self.node
            .metrics
            .cleaned_up(reason.as_str(), undone.is_ok());
        match undone {
            Ok(()) => tracing::info!(%pod, container_id, ifname, ?reason, "recovery: cleaned up"),
            // The next look tells of it, with all that fail for the same cause.
            Err(failures) => {
                tracing::debug!(%pod, container_id, ifname, ?reason, %failures, "recovery: not yet");
            }
        }
    }

    /// The recorded path of the sandbox, where it still leads to the same namespace; a path may be another sandbox's
    /// by now.
    pub(super) async fn recorded_netns(&self, record: &Record, host: &Host) -> Option<String> {
        let planned = &record.planned;
        let path = Some(&planned.netns)
            .filter(|path| !path.is_empty() && planned.boot_id == self.node.boot_id)?;
        let netns = Netns::open(Path::new(path), host).await.ok()?;
        planned
            .netns_id
            .is_some_and(|id| id.may_equal(netns.id()))
            .then(|| path.clone())
    }

    /// Clears away a file of the ledger that is no record (P-090): a plan whose writer died before anything ran is
    /// removed, another goes to the quarantine.
    pub(crate) async fn clear_illegible(&self, container_id: &str, ifname: &str) {
        let lock = self.ledger.lock_container(container_id).await;
        if let Err(error) = lock.load(ifname) {
            tracing::error!(container_id, ifname, %error, "recovery: what it says is attached is not known any more");
        }
    }

    /// Serves a DEL that the shim left while no daemon was there (decision 11), with plugins on `host`. It stays
    /// in the spool until it succeeds; one that keeps failing succeeds once its record is orphaned (decision 12).
    pub(crate) async fn replay(self: Arc<Self>, spooled: Spooled, host: Host) {
        let mut request = match spooled.read() {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "a DEL in the spool cannot be read");
                return;
            }
        };
        self.confirm_netns(&mut request, &host).await;
        let (call, metrics) = (CallSpan::new(&request), self.node.metrics.clone());
        let served = dispatch(
            &self.node,
            Some(&self),
            &request,
            host,
            CancellationToken::new(),
        )
        .instrument(call.span().clone())
        .await;
        metrics.cleaned_up("spooled", served.is_ok());
        match served {
            Ok(_) => {
                tracing::info!(path = %spooled.path().display(), "a DEL from the spool is done");
                if let Err(error) = spooled.done() {
                    tracing::error!(%error, "a DEL that is done stays in the spool");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a DEL from the spool failed; it will be tried again");
            }
        }
    }

    /// Takes the path of the namespace from an old request unless it leads where it did.
    async fn confirm_netns(&self, request: &mut Request, host: &Host) {
        let variable = |key: &str| request.env.get(key).map(String::as_str).unwrap_or_default();
        let record = self
            .ledger
            .read(variable("CNI_CONTAINERID"), variable("CNI_IFNAME"));
        let netns = match record {
            Ok(Some(record)) => self.recorded_netns(&record, host).await,
            _ => None,
        };
        if netns.as_deref() != Some(variable("CNI_NETNS")) {
            request.env.insert("CNI_NETNS".to_owned(), String::new());
        }
    }
}
