//! Where what a pod has differs from what it asks for, and from its network-status. Pure.

use std::collections::BTreeSet;

use plexus_api::status::NetworkStatus;

use super::asked::elements;
use super::from_daemon::status_problem;
use crate::ledger::Record;
use crate::model::{Attachment, Pod};
use crate::operations::is_status_too_large;
use crate::plan::{Difference, Plan};
use crate::report::{STATUS_TOO_LARGE, WriteState};

const RESTART: &str =
    "the annotation has changed since; without hot-plug, delete the pod to apply it";

/// Compares the newest sandbox with the annotation, and with the plan. `last_error` is the last
/// warning that the running daemon has emitted for the pod.
pub(super) fn of_plan(
    pod: &Pod,
    planned: Result<&Plan, &String>,
    records: &[Record],
    last_error: Option<&str>,
) -> Vec<String> {
    let newest = records.first();
    let attached = newest.filter(|record| record.is_attached());
    let plan = match planned {
        Ok(plan) => plan,
        Err(error) if attached.is_some() => {
            return vec![format!("the pod could not start again: {error}")];
        }
        Err(error) => return vec![format!("the pod cannot start: {error}")],
    };
    let Some(record) = attached else {
        // A record in another phase says so itself.
        let text = match last_error {
            Some(error) => format!("the pod has no sandbox: {error}"),
            None => "the pod has no sandbox yet, or its sandbox was not attached by Plexus; `kubectl describe pod` shows \
                     the error of an ADD that has failed"
                .to_owned(),
        };
        return newest.is_none().then_some(text).into_iter().collect();
    };
    let mut problems = Vec::new();
    // The plan is not made from an invalid annotation.
    let elements = elements(pod).unwrap_or_default();
    let attachments = record.planned.attachments.iter().zip(&record.attachments);
    let attachments = attachments.enumerate();
    let attachments = attachments.filter(|(_, (_, state))| !state.deleted);
    let attachments = attachments.map(|(index, (attachment, _))| (index, attachment));
    let difference = Difference::of(attachments, &elements);
    for position in difference.attach {
        let element = &elements[position];
        problems.push(format!(
            "network {}/{} is in the annotation, but not attached: {RESTART}",
            element.namespace, element.name
        ));
    }
    let label = |index: usize| record.planned.attachments[index].label();
    for index in difference.detach {
        let label = label(index);
        problems.push(format!(
            "{label} is attached, but no longer in the annotation: {RESTART}"
        ));
    }
    for index in difference.changed {
        let label = label(index);
        let text = "has other parameters in the annotation since it was attached; delete the pod to apply them";
        problems.push(format!("{label} {text}"));
    }
    let default = |attachments: &[Attachment]| {
        let mut found = attachments.iter().filter(|attachment| attachment.default);
        found.next().map(|attachment| attachment.network.clone())
    };
    let [has, would_get] =
        [&record.planned.attachments, &plan.attachments].map(|list| default(list));
    if let (Some(has), Some(would_get)) = (has, would_get)
        && has != would_get
    {
        problems.push(format!(
            "the default network is {has}, but would be {would_get} now; delete the pod to change it"
        ));
    }
    problems
}

/// Compares network-status with the newest sandbox. `write` is the one that the daemon has not finished.
pub(super) fn of_status(
    records: &[Record],
    network_status: Option<Result<&Vec<NetworkStatus>, &serde_json::Error>>,
    write: Option<&WriteState>,
) -> Vec<String> {
    // Whatever the pod has is of an earlier write.
    if let Some(problem) = write.and_then(status_problem) {
        return vec![problem];
    }
    let attached = records.first().filter(|record| record.is_attached());
    let Some(record) = attached else {
        return Vec::new();
    };
    if is_status_too_large(record) {
        return vec![STATUS_TOO_LARGE.to_owned()];
    }
    let status = match network_status {
        Some(Ok(status)) => status,
        Some(Err(error)) => return vec![format!("network-status cannot be read: {error}")],
        None if record.status_written => {
            return vec![
                "network-status was written, but the pod does not have it: something has removed it".to_owned(),
            ];
        }
        None => {
            let text = "network-status is not written yet; plexusd retries, and `plexusd status` and its log say why";
            return vec![text.to_owned()];
        }
    };
    let attachments = record.planned.attachments.iter().zip(&record.attachments);
    let attached = attachments.filter(|(attachment, state)| {
        // An auxiliary chain usually has no interface.
        !state.deleted && state.added.is_some() && !attachment.auxiliary
    });
    let has: BTreeSet<_> = attached.map(|(one, _)| one.network.as_str()).collect();
    let shown: BTreeSet<_> = status.iter().map(|entry| entry.name.as_str()).collect();
    let missing = has.difference(&shown);
    let missing = missing.map(|network| format!("network-status does not have network {network}"));
    let auxiliary = |network: &str| {
        let mut attachments = record.planned.attachments.iter();
        attachments.any(|attachment| attachment.auxiliary && attachment.network == network)
    };
    let extra = shown.difference(&has).filter(|network| !auxiliary(network));
    let extra =
        extra.map(|network| format!("network-status has network {network}, which is not attached"));
    missing.chain(extra).collect()
}
