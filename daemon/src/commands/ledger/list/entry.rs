//! The records and the spooled DELs, as they are listed.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use serde::Serialize;

use crate::clock::{boot_id, unix_ms};
use crate::ledger::{Ledger, LedgerError, Phase, Record};

/// A record, an unreadable file, or a spooled DEL.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) state: &'static str,
    /// The time since the plan was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) container_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) ifname: String,
    /// `None` if this is no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<PodEntry>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) netns: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) attachments: Vec<AttachmentEntry>,
    /// The number of failed DELs.
    pub(super) failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_failure_seconds: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
}

#[derive(Serialize)]
pub(super) struct PodEntry {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

#[derive(Serialize)]
pub(super) struct AttachmentEntry {
    interface: String,
    network: String,
    deleted: bool,
}

impl Display for AttachmentEntry {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let deleted = if self.deleted { "(deleted)" } else { "" };
        write!(f, "{}={}{deleted}", self.interface, self.network)
    }
}

/// The records, the oldest first, then the unreadable records and the spooled DELs. Blocking.
pub(super) fn entries(state_dir: &Path) -> anyhow::Result<Vec<Entry>> {
    let (boot, now) = (boot_id()?, unix_ms());
    let (mut records, mut others) = (Vec::new(), Vec::new());
    for record in Ledger::summaries(state_dir)? {
        match record {
            Ok(record) => records.push((
                record.planned.created_unix_ms,
                Entry::of_record(&record, &boot, now),
            )),
            Err(error) => others.push(Entry::unreadable(&error)),
        }
    }
    records.sort_by(|(left_time, left), (right_time, right)| {
        let key =
            |time: u64, entry: &Entry| (time, entry.container_id.clone(), entry.ifname.clone());
        key(*left_time, left).cmp(&key(*right_time, right))
    });
    for path in Ledger::spooled_files(state_dir)? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let (container, ifname) = name.rsplit_once(':').unwrap_or((&name, ""));
        others.push(Entry {
            state: "spooled",
            container_id: container.to_owned(),
            ifname: ifname.to_owned(),
            ..Entry::default()
        });
    }
    let records = records.into_iter().map(|(_, entry)| entry);
    Ok(records.chain(others).collect())
}

impl Entry {
    fn unreadable(error: &LedgerError) -> Self {
        let key = error.key();
        let (container_id, ifname) = key
            .map(|key| (key.container_id, key.ifname))
            .unwrap_or_default();
        Self {
            state: "unreadable",
            container_id,
            ifname,
            error: error.to_string(),
            ..Self::default()
        }
    }

    fn of_record(record: &Record, boot: &str, now: u64) -> Self {
        let (planned, failures) = (&record.planned, &record.del_failures);
        let attachments = planned.attachments.iter().zip(&record.attachments);
        let has_failed = failures.count > 0;
        Self {
            state: state(record, boot),
            age_seconds: Some(since(now, planned.created_unix_ms)),
            container_id: planned.container_id.clone(),
            ifname: planned.ifname.clone(),
            pod: Some(PodEntry {
                namespace: planned.pod.namespace.clone(),
                name: planned.pod.name.clone(),
                uid: planned.pod.uid.clone(),
            }),
            netns: planned.netns.clone(),
            attachments: attachments
                .map(|(attachment, state)| AttachmentEntry {
                    interface: attachment.ifname.clone(),
                    network: attachment.network.clone(),
                    deleted: state.deleted,
                })
                .collect(),
            failures: failures.count,
            last_failure_seconds: has_failed.then(|| since(now, failures.last_unix_ms)),
            error: failures.last_error.clone(),
        }
    }
}

fn state(record: &Record, boot: &str) -> &'static str {
    match record.phase() {
        Phase::Adding | Phase::Attached if record.planned.boot_id != boot => "before-reboot",
        Phase::Deleting if record.del_failures.count > 0 => "failed",
        phase => phase.as_str(),
    }
}

/// The seconds since `then`. 0 if the clock was set back.
fn since(now_unix_ms: u64, then_unix_ms: u64) -> u64 {
    now_unix_ms.saturating_sub(then_unix_ms) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_makes_no_negative_age() {
        assert_eq!(since(1, 5), 0);
        assert_eq!(since(120_999, 999), 120);
    }
}
