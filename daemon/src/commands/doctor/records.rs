//! The ledger: DELs that fail, and records of sandboxes that are gone.

use std::collections::BTreeSet;
use std::path::Path;

use super::facts::Facts;
use super::finding::{Finding, Outcome, Repair};
use crate::clock::boot_id;
use crate::ledger::{Ledger, LedgerError, RecordSummary};
use crate::recovery::{MassLoss, existing_netns};

/// The records can be read, and each belongs to a sandbox that exists.
pub(super) async fn check(facts: &Facts) -> Outcome {
    let dir = facts.settings().state_dir.clone();
    let checked = tokio::task::spawn_blocking(move || {
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let mut findings = Vec::new();
        let mut records = Vec::new();
        for record in Ledger::summaries(&dir)? {
            match record {
                Ok(record) => records.push(record),
                Err(error) => findings.push(unreadable(&error)),
            }
        }
        findings.extend(records.iter().filter_map(failing));
        findings.extend(gone(&records, &dir));
        let retired = Ledger::retired(&dir)?;
        if retired > 0 {
            let subject = format!("{}/retired", dir.display());
            let text = format!(
                "{retired} records are retired: their DEL can never succeed, and their addresses may stay in use"
            );
            findings.push(Finding::warning(subject, text).with_remedy(
                "read the files, remove by hand what is left on the node, and delete the files",
            ));
        }
        let quarantined = Ledger::quarantined(&dir)?;
        if quarantined > 0 {
            let subject = format!("{}/quarantine", dir.display());
            let text = format!("{quarantined} damaged records were moved to the quarantine");
            findings.push(
                Finding::warning(subject, text)
                    .with_remedy("see \"The quarantine\" in docs/troubleshooting.md"),
            );
        }
        Ok(findings)
    });
    let checked: Result<_, LedgerError> = match checked.await {
        Ok(checked) => checked,
        Err(panic) => return Some(Finding::failed("ledger", panic.to_string())).into(),
    };
    checked
        .unwrap_or_else(|error| vec![Finding::failed("ledger", error.to_string())])
        .into()
}

pub(super) fn subject(record: &RecordSummary) -> String {
    let planned = &record.planned;
    format!("pod {} (container {})", planned.pod, planned.container_id)
}

fn unreadable(error: &LedgerError) -> Finding {
    let subject = match error.key() {
        Some(key) => format!("record of container {}", key.container_id),
        None => "a record".to_owned(),
    };
    Finding::failed(subject, error.to_string())
        .with_remedy("see \"The quarantine\" in docs/troubleshooting.md")
}

fn failing(record: &RecordSummary) -> Option<Finding> {
    let failures = &record.del_failures;
    if failures.count == 0 {
        return None;
    }
    let text = format!(
        "DEL has failed {} times: {}",
        failures.count,
        plexus_api::shorten(&failures.last_error)
    );
    let remedy = format!(
        "remove the cause, then retry at once: `plexusd doctor --fix` or `plexusd ledger retry {}`",
        record.planned.container_id
    );
    Some(Finding {
        repair: Some(Repair::Retry(record.planned.key())),
        ..Finding::failed(subject(record), text).with_remedy(remedy)
    })
}

/// The records whose sandbox is gone, although no DEL has failed. A running daemon deletes them after
/// some time.
fn gone(records: &[RecordSummary], dir: &Path) -> Vec<Finding> {
    let without_failure = || {
        records
            .iter()
            .filter(|record| record.del_failures.count == 0)
    };
    let boot_id = boot_id().unwrap_or_default();
    let wanted: BTreeSet<_> = without_failure()
        .filter_map(|record| record.planned.netns_id)
        .collect();
    let existing = match existing_netns(&wanted) {
        Ok(existing) => existing,
        Err(error) => return vec![Finding::warning("network namespaces", error.to_string())],
    };
    let is_of_this_boot = |record: &&RecordSummary| record.planned.boot_id == boot_id;
    let is_missing = |record: &&RecordSummary| {
        let netns = record.planned.netns_id;
        netns.is_some_and(|netns| !existing.contains(&netns))
    };
    let attached = records.iter().filter(|record| record.is_attached());
    let attached = attached.filter(is_of_this_boot);
    let missing = attached.clone().filter(is_missing).count();
    if let Some(loss) = MassLoss::of(missing, attached.count()) {
        return vec![Finding::failed("network namespaces", loss.to_string())];
    }
    let gone = without_failure().filter(|record| !is_of_this_boot(record) || is_missing(record));
    gone.map(|record| {
        let whole = Ledger::record_in(dir, &record.planned.key()).ok().flatten();
        let left = whole.map(|record| record.leftovers(&boot_id)).unwrap_or_default();
        let text = "its sandbox is gone, but the runtime has not deleted it, which may leave";
        Finding::warning(subject(record), format!("{text} {}", left.join("; "))).with_remedy(
            "a running plexusd deletes what is left within goneGap and recoveryInterval; if it does not, its log says why",
        )
    })
    .collect()
}
