//! Giving up records by name: the operator's way out where a DEL can never succeed.

use plexus_api::cni::PluginResult;
use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, Record};

/// Which records to give up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Abandon {
    /// The container.
    pub(crate) container_id: String,
    /// The runtime's interface; none for all of the container.
    pub(crate) ifname: Option<String>,
}

/// A record that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Abandoned {
    /// The container.
    pub(crate) container_id: String,
    /// The runtime's interface.
    pub(crate) ifname: String,
    /// The pod; empty where the record could not be read.
    pub(crate) pod: String,
    /// What may be left on the node, one text an attachment.
    pub(crate) left: Vec<String>,
}

impl Ledger {
    /// Removes the records without a DEL, and warns of what is left behind. One that cannot be read goes to the
    /// quarantine. Waits for who has the container's lane.
    ///
    /// # Errors
    /// [`LedgerError::Unknown`] where there is none; [`LedgerError::Newer`], [`LedgerError::Io`].
    pub(crate) async fn abandon(&self, which: &Abandon) -> Result<Vec<Abandoned>, LedgerError> {
        let lock = self.lock_container(&which.container_id).await;
        let mut abandoned = Vec::new();
        for ifname in lock
            .interfaces()?
            .into_iter()
            .filter(|name| which.ifname.as_ref().is_none_or(|only| only == name))
        {
            let (pod, left) = match lock.load(&ifname) {
                Ok(None) => continue,
                Ok(Some(record)) => {
                    let told = (record.planned.pod.to_string(), left_by(&record));
                    lock.remove(record)?;
                    told
                }
                Err(error) if error.is_quarantined() => {
                    (String::new(), vec![format!("not known: {error}")])
                }
                Err(error) => return Err(error),
            };
            let container_id = which.container_id.clone();
            tracing::warn!(
                container_id,
                ifname,
                pod,
                left = left.join("; "),
                "abandoned: nobody deletes this any more"
            );
            abandoned.push(Abandoned {
                container_id,
                ifname,
                pod,
                left,
            });
        }
        if abandoned.is_empty() {
            return Err(LedgerError::Unknown {
                container_id: which.container_id.clone(),
                ifname: which.ifname.clone(),
            });
        }
        Ok(abandoned)
    }
}

/// What a record says may be left, one text an attachment.
fn left_by(record: &Record) -> Vec<String> {
    let attachments = record
        .planned
        .attachments
        .iter()
        .zip(&record.attachments)
        .enumerate();
    let left = attachments.filter(|(_, (_, state))| state.started && !state.deleted);
    left.map(|(index, (attachment, _))| {
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
