//! Where what a pod has differs from what it asks for, and from its network-status. Pure.

use std::collections::BTreeSet;

use plexus_api::status::NetworkStatus;

use super::asked::elements;
use crate::ledger::Record;
use crate::model::{Attachment, Pod};
use crate::plan::{Difference, Plan};

const RESTART: &str =
    "the annotation has changed since; without hot-plug, delete the pod to apply it";

/// Compares the newest sandbox with the annotation, and with the plan.
pub(super) fn of_plan(
    pod: &Pod,
    planned: Result<&Plan, &String>,
    records: &[Record],
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
        let text = "the pod has no sandbox yet, or its sandbox was not attached by Plexus; \
                    `kubectl describe pod` shows the error of an ADD that has failed";
        return newest
            .is_none()
            .then(|| text.to_owned())
            .into_iter()
            .collect();
    };
    let mut problems = Vec::new();
    let elements = elements(pod);
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

/// Compares network-status with the newest sandbox.
pub(super) fn of_status(
    records: &[Record],
    network_status: Option<&[NetworkStatus]>,
) -> Vec<String> {
    let attached = records.first().filter(|record| record.is_attached());
    let (Some(record), Some(status)) = (attached, network_status) else {
        return Vec::new();
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
