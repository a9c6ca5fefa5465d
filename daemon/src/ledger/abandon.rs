//! Removal of records that an operator abandons because their DEL can never succeed.

use std::collections::BTreeSet;

use plexus_api::cni::{PluginConfig, PluginResult};
use serde::{Deserialize, Serialize};

use super::{ContainerLock, Ledger, LedgerError, Line, Record, RecordKey};
use crate::call_limits::CallLimits;
use crate::model::Attachment;

/// The records to abandon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AbandonRequest {
    pub(crate) selection: AbandonSelection,
    /// Whether nothing is changed.
    pub(crate) dry_run: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum AbandonSelection {
    Container {
        container_id: String,
        /// The runtime's interface; `None` for all interfaces of the container.
        ifname: Option<String>,
    },
    /// All orphaned records.
    Orphaned,
    /// The records of the pod `namespace/name` whose DEL fails.
    Pod(String),
    /// The attachments to the network `namespace/name` in all records whose DEL fails.
    Network(String),
}

impl AbandonSelection {
    fn includes_key(&self, key: &RecordKey) -> bool {
        match self {
            Self::Container {
                container_id,
                ifname,
            } => {
                key.container_id == *container_id
                    && ifname.as_ref().is_none_or(|ifname| key.ifname == *ifname)
            }
            Self::Orphaned | Self::Pod(_) | Self::Network(_) => true,
        }
    }

    /// The indexes of the attachments to abandon.
    fn attachments(&self, record: &Record, boot_id: &str) -> Vec<usize> {
        let planned = &record.planned;
        // In an attached record, only the named container may be meant.
        let left = |is_selected: bool| {
            let left = record.to_undo(boot_id).into_iter().rev();
            left.filter(|_| is_selected).collect()
        };
        let fails = record.del_failures.count > 0;
        match self {
            Self::Container { .. } => left(true),
            Self::Orphaned => left(record.orphaned),
            Self::Pod(pod) => left(fails && planned.pod.to_string() == *pod),
            Self::Network(network) => {
                let mut attachments: Vec<usize> = left(fails);
                attachments.retain(|&index| planned.attachments[index].network == *network);
                attachments
            }
        }
    }

    fn includes(&self, record: &Record, boot_id: &str) -> bool {
        matches!(self, Self::Container { .. }) || !self.attachments(record, boot_id).is_empty()
    }
}

/// A record that was abandoned, or that would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AbandonedRecord {
    pub(crate) container_id: String,
    pub(crate) ifname: String,
    /// The pod; empty if the record could not be read.
    pub(crate) pod: String,
    /// The interfaces, devices and addresses that may be left on the node, one text for each
    /// attachment.
    pub(crate) left: Vec<String>,
}

/// The result of an [`AbandonRequest`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AbandonOutcome {
    pub(crate) abandoned: Vec<AbandonedRecord>,
    /// The error that kept the remaining records, if there was one.
    pub(crate) error: Option<String>,
}

impl Ledger {
    /// Removes records without a DEL, and logs a warning with the interfaces and addresses that may
    /// be left on the node. A damaged record of a container is moved to the quarantine. Waits for
    /// the locks of the containers, one after the other, and stops at the first error. `boot_id` is
    /// the current boot.
    ///
    /// # Errors
    /// No record was abandoned: [`LedgerError::NoRecord`] if a container is selected,
    /// [`LedgerError::Newer`], [`LedgerError::Io`], [`LedgerError::Wait`].
    pub(crate) async fn abandon(
        &self,
        request: &AbandonRequest,
        boot_id: &str,
        limits: &CallLimits,
    ) -> Result<AbandonOutcome, LedgerError> {
        let mut abandoned = Vec::new();
        match self
            .abandon_each(request, boot_id, limits, &mut abandoned)
            .await
        {
            Err(error) if abandoned.is_empty() => Err(error),
            done => Ok(AbandonOutcome {
                abandoned,
                error: done.err().map(|error| error.to_string()),
            }),
        }
    }

    async fn abandon_each(
        &self,
        request: &AbandonRequest,
        boot_id: &str,
        limits: &CallLimits,
        abandoned: &mut Vec<AbandonedRecord>,
    ) -> Result<(), LedgerError> {
        let selection = &request.selection;
        let mut keys = self.keys()?;
        keys.retain(|key| selection.includes_key(key));
        keys.sort();
        for key in keys {
            let is_container = matches!(selection, AbandonSelection::Container { .. });
            let is_selected = || matches!(self.summary(&key), Ok(Some(record)) if selection.includes(&record, boot_id));
            if !is_container && !is_selected() {
                continue;
            }
            let lock = self.lock_container(&key.container_id, limits).await?;
            abandoned.extend(abandon(&lock, &key, request, boot_id)?);
        }
        match selection {
            AbandonSelection::Container {
                container_id,
                ifname,
            } if abandoned.is_empty() => Err(LedgerError::NoRecord {
                container_id: container_id.clone(),
                ifname: ifname.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// Abandons what is selected of one record.
fn abandon(
    lock: &ContainerLock,
    key: &RecordKey,
    AbandonRequest { selection, dry_run }: &AbandonRequest,
    boot_id: &str,
) -> Result<Option<AbandonedRecord>, LedgerError> {
    let (pod, left) = match lock.load(&key.ifname) {
        Ok(Some(record)) if selection.includes(&record, boot_id) => {
            let indexes = selection.attachments(&record, boot_id);
            let left = indexes.iter().map(|&index| leftover(&record, index));
            let pod_and_left = (record.planned.pod.to_string(), left.collect());
            if !dry_run {
                remove(lock, record, &indexes, boot_id)?;
            }
            pod_and_left
        }
        Ok(_) => return Ok(None),
        Err(error) if error.is_quarantined() => (String::new(), vec![format!("unknown: {error}")]),
        Err(error) => return Err(error),
    };
    let RecordKey {
        container_id,
        ifname,
    } = key.clone();
    if !dry_run {
        tracing::warn!(
            container_id,
            ifname,
            pod,
            left = left.join("; "),
            "abandoned a record; plexusd will not delete the interfaces and addresses that are left"
        );
    }
    Ok(Some(AbandonedRecord {
        container_id,
        ifname,
        pod,
        left,
    }))
}

/// Removes a record, or only these attachments if others still need a DEL.
fn remove(
    lock: &ContainerLock,
    mut record: Record,
    indexes: &[usize],
    boot_id: &str,
) -> Result<(), LedgerError> {
    if record.to_undo(boot_id).len() > indexes.len() {
        for &index in indexes {
            lock.append(&mut record, Line::Deleted { index })?;
        }
        return Ok(());
    }
    lock.remove(record)
}

impl Record {
    /// What its attachments may leave on the node, one text for each that needs a DEL.
    pub(crate) fn leftovers(&self, current_boot_id: &str) -> Vec<String> {
        let left = self.to_undo(current_boot_id).into_iter().rev();
        left.map(|index| leftover(self, index)).collect()
    }
}

/// The interface, the device and the addresses of an attachment.
fn leftover(record: &Record, index: usize) -> String {
    let attachment = &record.planned.attachments[index];
    let addresses = match record.result_for_del(index) {
        Some(result) => addresses(&result),
        None => unknown_addresses(attachment),
    };
    let device = attachment.device_id.as_ref();
    let device = device.map_or_else(String::new, |id| format!(" on the device {id}"));
    format!(
        "interface {} of network {}{device}{addresses}",
        attachment.ifname, attachment.network
    )
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

/// The addresses of an attachment without a result: its IPAM plugins may have assigned some.
fn unknown_addresses(attachment: &Attachment) -> String {
    let plugins = attachment.config.plugins.iter();
    let kinds: BTreeSet<_> = plugins.filter_map(PluginConfig::ipam_type).collect();
    if kinds.is_empty() {
        return String::new();
    }
    let kinds = Vec::from_iter(kinds).join(" and ");
    let name = &attachment.config.name;
    format!(" with the addresses that {kinds} has assigned to it under the network name {name:?}")
}

#[cfg(test)]
mod tests;
