//! The interfaces of attached pods.

use std::collections::BTreeSet;
use std::path::Path;

use super::facts::Facts;
use super::finding::{Finding, Outcome};
use super::records::subject;
use crate::clock::boot_id;
use crate::commands::sandbox_links::{explain, missing_links};
use crate::host::Host;
use crate::ledger::{Ledger, Record, RecordSummary};
use crate::recovery::existing_netns;

/// Each attached pod has the interfaces in its record.
pub(super) async fn check(facts: &Facts) -> Outcome {
    let Some(plugins) = &facts.plugins else {
        return Outcome::NotApplicable("plugins cannot run");
    };
    let (host, dir) = (&plugins.host, facts.settings().state_dir.clone());
    let listed = tokio::task::spawn_blocking(move || attached(&dir)).await;
    let records = match listed.map_err(anyhow::Error::from).flatten() {
        Ok(records) => records,
        Err(error) => return Some(Finding::failed("ledger", format!("{error:#}"))).into(),
    };
    let mut findings = Vec::new();
    for record in records {
        let problems = problems(&record, host).await;
        if problems.is_empty() {
            continue;
        }
        // The pod may have been deleted or changed since the ledger was listed.
        let still = match current(&facts.settings().state_dir, &record) {
            Some(current) => self::problems(&current, host).await,
            None => continue,
        };
        let problems = problems.into_iter().filter(|text| still.contains(text));
        findings.extend(problems.map(|text| {
            Finding::failed(subject(&record), text).with_remedy("delete the pod to attach it again")
        }));
    }
    findings.into()
}

/// The records of attached sandboxes whose network namespaces exist. The check of records names the
/// other ones. Blocking.
fn attached(dir: &Path) -> anyhow::Result<Vec<RecordSummary>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let boot_id = boot_id()?;
    let mut records: Vec<_> = Ledger::summaries(dir)?.flatten().collect();
    records.retain(|record| record.is_attached() && record.planned.boot_id == boot_id);
    let namespaces = records.iter().filter_map(|record| record.planned.netns_id);
    let existing = existing_netns(&namespaces.collect::<BTreeSet<_>>())?;
    records.retain(|record| {
        let netns = record.planned.netns_id;
        netns.is_some_and(|netns| existing.contains(&netns))
    });
    Ok(records)
}

/// The record as it is now. `None` if its sandbox is no longer attached.
fn current(dir: &Path, record: &RecordSummary) -> Option<Record> {
    let read = Ledger::record_in(dir, &record.planned.key());
    let current = read.ok().flatten().filter(Record::is_attached);
    let is_same = |current: &Record| {
        let planned = &current.planned;
        planned.created_unix_ms == record.planned.created_unix_ms
            && planned.revision == record.planned.revision
    };
    current.filter(is_same)
}

async fn problems(record: &Record, host: &Host) -> Vec<String> {
    match missing_links(record, host).await {
        Ok(missing) => missing.into_iter().map(explain).collect(),
        Err(error) => vec![format!("its network namespace exists, but {error}")],
    }
}
