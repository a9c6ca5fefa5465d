//! What a pod has: its records, and the links in its sandbox.

use std::collections::BTreeSet;
use std::path::Path;

use plexus_api::shorten;
use serde::Serialize;

use crate::commands::sandbox_links::{explain, missing_links};
use crate::host::Host;
use crate::ledger::{Ledger, LedgerError, Record};
use crate::model::PodRef;

/// A sandbox with a record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sandbox {
    pub(super) container_id: String,
    /// The interface of the runtime.
    pub(super) ifname: String,
    /// The phase of the record, as in `plexusd ledger list`.
    pub(super) state: String,
    pub(super) attachments: Vec<Attached>,
    pub(super) network_status_written: bool,
    /// The error of the last failed DEL.
    pub(super) last_error: Option<String>,
}

/// An attachment of a record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attached {
    pub(super) interface: String,
    pub(super) network: String,
    /// `attached`, `deleted`, `not finished` or `not started`.
    pub(super) state: String,
    /// The addresses in the result.
    pub(super) ips: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<String>,
}

/// The records of a pod.
#[derive(Debug)]
pub(super) struct Has {
    /// The newest first.
    pub(super) records: Vec<Record>,
    pub(super) sandboxes: Vec<Sandbox>,
    pub(super) problems: Vec<String>,
}

/// The records of a pod, and how they differ from the kernel.
pub(super) async fn of_pod(
    state_dir: &Path,
    host: Option<&Host>,
    namespace: &str,
    name: &str,
) -> Result<Has, LedgerError> {
    let dir = state_dir.to_owned();
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    let read = move || records(&dir, &namespace, &name);
    let records = match tokio::task::spawn_blocking(read).await {
        Ok(records) => records?,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    };
    let mut problems = Vec::new();
    for record in &records {
        problems.extend(of_record(record));
    }
    // Older sandboxes of the pod are being deleted.
    let newest = records.first().filter(|record| record.is_attached());
    if let Some((newest, host)) = newest.zip(host) {
        problems.extend(links_that_are_gone(newest, host).await);
    }
    let sandboxes = records.iter().map(Sandbox::from).collect();
    Ok(Has {
        records,
        sandboxes,
        problems,
    })
}

fn records(dir: &Path, namespace: &str, name: &str) -> Result<Vec<Record>, LedgerError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let is_of_pod = |pod: &PodRef| pod.namespace == namespace && pod.name == name;
    let mut records = Vec::new();
    for summary in Ledger::summaries(dir)?.flatten() {
        if is_of_pod(&summary.planned.pod) {
            records.extend(Ledger::record_in(dir, &summary.planned.key())?);
        }
    }
    records.sort_by_key(|record| std::cmp::Reverse(record.planned.created_unix_ms));
    Ok(records)
}

/// What the record itself says.
fn of_record(record: &Record) -> Option<String> {
    let failures = &record.del_failures;
    let container = &record.planned.container_id;
    if failures.count > 0 {
        return Some(format!(
            "DEL of container {container} has failed {} times: {}",
            failures.count,
            shorten(&failures.last_error)
        ));
    }
    let unfinished = !record.completed && !record.deleting;
    unfinished.then(|| format!("the ADD of container {container} has not finished"))
}

/// The links of an attached sandbox that the kernel no longer has.
async fn links_that_are_gone(record: &Record, host: &Host) -> Vec<String> {
    match missing_links(record, host).await {
        Ok(missing) => missing
            .into_iter()
            .map(|attachment| format!("{}; delete the pod to attach it again", explain(attachment)))
            .collect(),
        Err(error) => vec![error],
    }
}

impl From<&Record> for Sandbox {
    fn from(record: &Record) -> Self {
        let planned = &record.planned;
        let attachments = planned.attachments.iter().zip(&record.attachments);
        let attachments = attachments.enumerate().map(|(index, (attachment, state))| {
            let result = record.result_for_check(index).ok();
            let ips = result.iter().flat_map(|result| &result.result().ips);
            let ips: BTreeSet<_> = ips.map(|ip| ip.address.to_string()).collect();
            let state = match (state.deleted, &state.added, state.started) {
                (true, ..) => "deleted",
                (_, Some(_), _) => "attached",
                (_, None, true) => "not finished",
                (_, None, false) => "not started",
            };
            Attached {
                interface: attachment.ifname.clone(),
                network: attachment.network.clone(),
                state: state.to_owned(),
                ips: ips.into_iter().collect(),
                device: attachment.device_id.clone(),
            }
        });
        let failures = &record.del_failures;
        Self {
            container_id: planned.container_id.clone(),
            ifname: planned.ifname.clone(),
            state: record.phase().as_str().to_owned(),
            attachments: attachments.collect(),
            network_status_written: record.status_written,
            last_error: (failures.count > 0).then(|| failures.last_error.clone()),
        }
    }
}
