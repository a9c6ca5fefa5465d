//! `plexusd ledger list`: each record and each spooled DEL.

mod entry;

use std::io::Write;
use std::path::Path;

use crate::cli::ListFormat;
use crate::commands::{age, table};
use crate::ledger::Ledger;
use entry::{Entry, entries};

/// The columns of the table.
const HEADER: [&str; 9] = [
    "STATE",
    "AGE",
    "CONTAINER",
    "IFNAME",
    "POD",
    "NETWORKS",
    "FAILURES",
    "LAST-FAILURE",
    "ERROR",
];
/// The columns of the wide table.
const WIDE: [&str; 11] = [
    "STATE",
    "AGE",
    "CONTAINER",
    "IFNAME",
    "POD",
    "NETWORKS",
    "FAILURES",
    "LAST-FAILURE",
    "UID",
    "NETNS",
    "ERROR",
];

/// Prints the records, the oldest first, then the unreadable records and the spooled DELs. The
/// numbers of retired records and of damaged files go to stderr.
pub(super) fn print(
    state_dir: &Path,
    format: ListFormat,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let entries = entries(state_dir)?;
    match format {
        ListFormat::Json => table::print_json(&entries, out)?,
        _ if entries.is_empty() => eprintln!("no sandboxes"),
        ListFormat::Text => {
            let rows: Vec<_> = entries.iter().map(row).collect();
            table::print(HEADER, &rows, out)?;
        }
        ListFormat::Wide => {
            let rows: Vec<_> = entries.iter().map(wide_row).collect();
            table::print(WIDE, &rows, out)?;
        }
    }
    for (count, dir) in [
        (Ledger::retired(state_dir)?, "retired"),
        (Ledger::quarantined(state_dir)?, "quarantine"),
    ] {
        if count > 0 {
            eprintln!("{} has {count} files", state_dir.join(dir).display());
        }
    }
    Ok(())
}

fn row(entry: &Entry) -> [String; HEADER.len()] {
    let pod = entry.pod.as_ref();
    let networks: Vec<_> = entry.attachments.iter().map(ToString::to_string).collect();
    let age = |seconds: Option<u64>| seconds.map(age::seconds).unwrap_or_default();
    [
        entry.state.to_owned(),
        age(entry.age_seconds),
        entry.container_id.clone(),
        entry.ifname.clone(),
        pod.map(|pod| format!("{}/{}", pod.namespace, pod.name))
            .unwrap_or_default(),
        networks.join(","),
        pod.map(|_| entry.failures.to_string()).unwrap_or_default(),
        age(entry.last_failure_seconds),
        entry.error.clone(),
    ]
}

fn wide_row(entry: &Entry) -> [String; WIDE.len()] {
    let uid = entry.pod.as_ref().map(|pod| pod.uid.clone());
    let [first @ .., error] = row(entry);
    let last = [uid.unwrap_or_default(), entry.netns.clone(), error];
    let mut cells = first.into_iter().chain(last);
    WIDE.map(|_| cells.next().unwrap_or_default())
}
