//! Removal of records that an operator abandons because their DEL can never succeed.

use plexus_api::cni::PluginResult;
use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, Record};
use crate::call_limits::CallLimits;

/// The records to abandon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AbandonRequest {
    pub(crate) container_id: String,
    /// The runtime's interface; `None` for all interfaces of the container.
    pub(crate) ifname: Option<String>,
}

/// A record that was abandoned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AbandonedRecord {
    pub(crate) container_id: String,
    pub(crate) ifname: String,
    /// The pod; empty if the record could not be read.
    pub(crate) pod: String,
    /// The interfaces and addresses that may be left on the node, one text for each attachment.
    pub(crate) left: Vec<String>,
}

impl Ledger {
    /// Removes records without a DEL, and logs a warning with the interfaces and addresses that may
    /// be left on the node. A damaged record is moved to the quarantine. Waits for the lock of the
    /// container.
    ///
    /// # Errors
    /// [`LedgerError::NoRecord`], [`LedgerError::Newer`], [`LedgerError::Io`], [`LedgerError::Wait`].
    pub(crate) async fn abandon(
        &self,
        request: &AbandonRequest,
        limits: &CallLimits,
    ) -> Result<Vec<AbandonedRecord>, LedgerError> {
        let lock = self.lock_container(&request.container_id, limits).await?;
        let ifnames = lock.interfaces()?.into_iter().filter(|name| {
            request
                .ifname
                .as_ref()
                .is_none_or(|requested| requested == name)
        });
        let mut abandoned = Vec::new();
        for ifname in ifnames {
            let (pod, left) = match lock.load(&ifname) {
                Ok(None) => continue,
                Ok(Some(record)) => {
                    let pod_and_left = (record.planned.pod.to_string(), leftovers(&record));
                    lock.remove(record)?;
                    pod_and_left
                }
                Err(error) if error.is_quarantined() => {
                    (String::new(), vec![format!("unknown: {error}")])
                }
                Err(error) => return Err(error),
            };
            let container_id = request.container_id.clone();
            tracing::warn!(
                container_id,
                ifname,
                pod,
                left = left.join("; "),
                "abandoned a record; plexusd will not delete the interfaces and addresses that are left"
            );
            abandoned.push(AbandonedRecord {
                container_id,
                ifname,
                pod,
                left,
            });
        }
        if abandoned.is_empty() {
            return Err(LedgerError::NoRecord {
                container_id: request.container_id.clone(),
                ifname: request.ifname.clone(),
            });
        }
        Ok(abandoned)
    }
}

/// The interfaces and addresses of a record that may be left, one text for each attachment.
fn leftovers(record: &Record) -> Vec<String> {
    record
        .planned
        .attachments
        .iter()
        .zip(&record.attachments)
        .enumerate()
        .filter(|(_, (_, state))| state.started && !state.deleted)
        .map(|(index, (attachment, _))| {
            let addresses = record
                .result_for_del(index)
                .as_ref()
                .map(addresses)
                .unwrap_or_default();
            format!(
                "interface {} of network {}{addresses}",
                attachment.ifname, attachment.network
            )
        })
        .collect()
}

fn addresses(result: &PluginResult) -> String {
    let ips: Vec<_> = result
        .result()
        .ips
        .iter()
        .map(|ip| ip.address.to_string())
        .collect();
    if ips.is_empty() {
        String::new()
    } else {
        format!(" with {}", ips.join(" and "))
    }
}
