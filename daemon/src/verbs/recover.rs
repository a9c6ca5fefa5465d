//! What recovery does to one record: finish what was left half done.

use std::collections::BTreeMap;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::Verbs;
use super::undo::Undo;
use crate::delegate::Priority;
use crate::ledger::Record;
use crate::netns::Netns;

/// Why recovery looks at a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Its ADD never answered.
    Unfinished,
    /// Its DEL failed.
    Failed,
    /// Its sandbox is gone.
    Dead,
}

impl Verbs {
    /// Undoes the record of (container, interface), unless it is no longer what recovery saw.
    pub async fn recover(&self, container_id: &str, ifname: &str, reason: Reason, stop: &CancellationToken) {
        let lane = self.ledger.lane(container_id).await;
        let record = match lane.load(ifname) {
            Ok(Some(record)) => record,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(container_id, ifname, %error, "recovery: the record cannot be read");
                return;
            }
        };
        let still = match reason {
            // An ADD that was in flight has finished while we waited for the lane.
            Reason::Unfinished => !record.completed,
            Reason::Failed => record.del_failures.count > 0,
            Reason::Dead => true,
        };
        if !still || stop.is_cancelled() {
            return;
        }
        let _slot = self.delegates.slot(Priority::Recovery).await;
        let pod = record.planned.pod.clone();
        let netns = if reason == Reason::Dead { None } else { self.recorded_netns(&record).await };
        let undo = Undo { netns, path: Vec::new(), env: BTreeMap::new() };
        match self.undo(&lane, record, undo, self.settings.del_timeout).await {
            Ok(()) => tracing::info!(%pod, container_id, ifname, ?reason, "recovery: cleaned up"),
            Err(failures) => tracing::warn!(%pod, container_id, ifname, ?reason, %failures, "recovery: not yet"),
        }
    }

    /// The recorded path of the sandbox, where it still leads to the same namespace; a path may be another sandbox's
    /// by now.
    pub(super) async fn recorded_netns(&self, record: &Record) -> Option<String> {
        let path = Some(&record.planned.netns).filter(|path| !path.is_empty())?;
        let netns = Netns::open(Path::new(path)).await.ok()?;
        (Some(netns.id()) == record.planned.netns_id).then(|| path.clone())
    }
}
