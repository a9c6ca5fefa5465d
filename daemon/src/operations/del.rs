//! DEL: from the ledger alone.

use plexus_api::cni::CniError;

use super::request::CniRequest;
use super::undo::{Failures, Undo};
use crate::context::Context;
use crate::delegate::Priority;
use crate::ledger::{ContainerLock, Line};
use crate::report::events::EventReason;
use crate::telemetry;

impl Context {
    /// Detaches a sandbox. Succeeds where there is nothing to detach (P-087).
    pub(super) async fn del(&self, incoming: &CniRequest) -> Result<(), CniError> {
        self.try_del(incoming)
            .await
            .map_err(|error| error.context(incoming.subject()).for_del())
    }

    async fn try_del(&self, incoming: &CniRequest) -> Result<(), CniError> {
        let env = &incoming.env;
        let lock = self.ledger.lock_container(&env.container_id).await;
        let record = match lock.load(&env.ifname) {
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
            None => self.adopt(incoming, &lock).await?,
            known => known,
        };
        let Some(record) = record else {
            if !self.ledger.recently_deleted(&env.container_id, &env.ifname) {
                self.delete_without_record(incoming, &lock).await;
            }
            return Ok(());
        };
        telemetry::CallSpan::record_networks(&record.planned.networks());
        let _guard = self
            .delegates
            .attach_guard(
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
            .undo(&lock, record, undo, incoming.settings.del_timeout)
            .await
        {
            Ok(()) => Ok(()),
            Err(failures) => self.show_or_orphan(incoming, &lock, failures),
        }
    }

    /// Decision 12: a runtime that tries again sees the first failures; then the pod is let go, and recovery goes on
    /// with its record.
    fn show_or_orphan(
        &self,
        incoming: &CniRequest,
        lock: &ContainerLock,
        failures: Failures,
    ) -> Result<(), CniError> {
        let Some(mut record) = lock.load(&incoming.env.ifname)? else {
            return Err(failures.into());
        };
        let pod = record.planned.pod.clone();
        if !record
            .del_failures
            .exhausted(incoming.settings.orphan_after)
        {
            self.reporter.event(
                &pod,
                EventReason::DetachFailed,
                format!("{failures}; the runtime will try again"),
            );
            return Err(failures.into());
        }
        if !record.orphaned {
            lock.append(&mut record, Line::Orphaned)?;
            let message = format!(
                "{failures}; the pod is let go, and this node goes on trying alone: `plexusd ledger list` there shows \
                 what is left"
            );
            self.reporter
                .event(&pod, EventReason::DetachOrphaned, message);
        }
        Ok(())
    }
}
