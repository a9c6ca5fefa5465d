//! DEL: from the ledger alone.

use plexus_api::cni::CniError;

use super::Verbs;
use super::call::Incoming;
use super::undo::{Failures, Undo};
use crate::delegate::Priority;
use crate::ledger::{Lane, Line};
use crate::report::events::Reason;
use crate::telemetry;

impl Verbs {
    /// Detaches a sandbox. Succeeds where there is nothing to detach (P-087).
    pub(super) async fn del(&self, incoming: &Incoming) -> Result<(), CniError> {
        self.try_del(incoming)
            .await
            .map_err(|error| error.context(incoming.subject()).for_del())
    }

    async fn try_del(&self, incoming: &Incoming) -> Result<(), CniError> {
        let env = &incoming.env;
        let lane = self.ledger.lane(&env.container_id).await;
        let record = match lane.load(&env.ifname) {
            Ok(record) => record,
            Err(error) if error.is_quarantined() => {
                tracing::error!(%error, "the record cannot be read; deleting what is known without it");
                None
            }
            Err(error) => return Err(error.into()),
        };
        if let (Some(record), Some(at)) = (&record, &incoming.spooled_at)
            && record.planned.is_after(at, &self.boot_id)
        {
            tracing::info!(pod = %record.planned.pod, "this DEL is older than what is attached, which stays");
            return Ok(());
        }
        // Before what was just deleted: while Multus' files are there, the sandbox is not ours yet.
        let record = match record {
            None => self.adopt(incoming, &lane).await?,
            known => known,
        };
        let Some(record) = record else {
            if !self.ledger.recently_deleted(&env.container_id, &env.ifname) {
                self.delete_without_record(incoming, &lane).await;
            }
            return Ok(());
        };
        telemetry::Call::record_networks(&record.planned.networks());
        let _turn = self
            .delegates
            .turn(
                Priority::Del,
                &incoming.subject(),
                &record.planned.attachments,
            )
            .await;
        let undo = Undo {
            host: incoming.host.clone(),
            // The runtime's value, even where it is empty: a recorded path may be another sandbox's by now.
            netns: env.netns.clone(),
            path: env.path.clone(),
            env: incoming.pass_on.clone(),
        };
        match self
            .undo(&lane, record, undo, incoming.settings.del_timeout)
            .await
        {
            Ok(()) => Ok(()),
            Err(failures) => self.show_or_orphan(incoming, &lane, failures),
        }
    }

    /// Decision 12: a runtime that tries again sees the first failures; then the pod is let go, and recovery goes on
    /// with its record.
    fn show_or_orphan(
        &self,
        incoming: &Incoming,
        lane: &Lane,
        failures: Failures,
    ) -> Result<(), CniError> {
        let Some(mut record) = lane.load(&incoming.env.ifname)? else {
            return Err(failures.into());
        };
        let pod = record.planned.pod.clone();
        if !record
            .del_failures
            .exhausted(incoming.settings.orphan_after)
        {
            self.reporter.event(
                &pod,
                Reason::DetachFailed,
                format!("{failures}; the runtime will try again"),
            );
            return Err(failures.into());
        }
        if !record.orphaned {
            lane.append(&mut record, Line::Orphaned)?;
            let message = format!(
                "{failures}; the pod is let go, and this node goes on trying alone: `plexusd ledger list` there shows \
                 what is left"
            );
            self.reporter.event(&pod, Reason::DetachOrphaned, message);
        }
        Ok(())
    }
}
