//! What becomes of a network-status that the answer to ADD did not wait for: the ledger hears when it is written, and
//! remembers it over a restart.

use std::sync::Arc;

use crate::context::Context;
use crate::ledger::{Ledger, Line, Planned};
use crate::report::{SandboxRef, Write};

/// The sandbox of a record, as those who tell the world of it know it.
pub(super) fn sandbox(planned: &Planned) -> SandboxRef {
    let Planned {
        pod,
        container_id,
        ifname,
        ..
    } = planned;
    SandboxRef {
        pod: pod.clone(),
        container_id: container_id.clone(),
        ifname: ifname.clone(),
    }
}

impl Context {
    /// Lets a write go on, and records its end.
    pub(super) fn record_when_written(&self, planned: &Planned, write: Write) {
        let (ledger, sandbox) = (self.ledger.clone(), sandbox(planned));
        tokio::spawn(record_when_written(
            ledger,
            sandbox,
            planned.created_unix_ms,
            write,
        ));
    }

    /// Takes the write of a status up again that a daemon before this one could not bring to its end.
    pub(crate) async fn resume_status(self: &Arc<Self>, container_id: &str, ifname: &str) {
        let lock = self.ledger.lock_container(container_id).await;
        let Ok(Some(record)) = lock.load(ifname) else {
            return;
        };
        if !record.is_attached() || record.status_written {
            return;
        }
        let planned = &record.planned;
        let results: Result<Vec<_>, _> = (0..planned.attachments.len())
            .map(|i| record.result_for_check(i))
            .collect();
        let Ok(results) = results else { return };
        let patience = self.settings.status_wait;
        let is_newest = || self.ledger.is_newest(planned, &self.boot_id);
        let (sandbox, attachments) = (sandbox(planned), &planned.attachments);
        let write = self.reporter.resume_network_status(
            sandbox,
            attachments,
            &results,
            patience,
            is_newest,
        );
        if let Some(write) = write.await {
            self.record_when_written(planned, write);
        }
    }
}

/// The write lives until its end is recorded, so that nobody begins another one in between.
async fn record_when_written(
    ledger: Ledger,
    sandbox: SandboxRef,
    created_unix_ms: u64,
    mut write: Write,
) {
    if !write.done().await {
        return;
    }
    let lock = ledger.lock_container(&sandbox.container_id).await;
    let Ok(Some(mut record)) = lock.load(&sandbox.ifname) else {
        return;
    };
    if record.planned.created_unix_ms != created_unix_ms || record.status_written {
        return;
    }
    if let Err(error) = lock.append(&mut record, Line::StatusWritten) {
        tracing::error!(pod = %sandbox.pod, %error, "that network-status is written cannot be recorded");
    }
}
