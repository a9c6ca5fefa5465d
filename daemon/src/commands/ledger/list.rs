//! `plexusd ledger list`: one line for each record and each spooled DEL.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::clock::{boot_id, unix_ms};
use crate::ledger::{Ledger, Phase, Record};

/// The columns. Only the last one may contain spaces.
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
const EMPTY: &str = "-";

type Row = [String; HEADER.len()];

/// Prints a table of the records, the oldest first, then of the unreadable records and the spooled
/// DELs. The numbers of retired records and of damaged files go to stderr.
///
/// The records are read twice, once for the widths of the columns, and never held in memory.
pub(super) fn print(state_dir: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let (boot, now) = (boot_id()?, unix_ms());
    let (mut keys, mut others) = (Vec::new(), Vec::new());
    let mut widths = HEADER.map(str::len);
    let mut widen = |row: &Row| {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    };
    for record in Ledger::summaries(state_dir)? {
        match record {
            Ok(record) => {
                widen(&row(&record, &boot, now));
                keys.push((record.planned.created_unix_ms, record.planned.key()));
            }
            Err(error) => others.push(other("unreadable", EMPTY, EMPTY, &error.to_string())),
        }
    }
    keys.sort();
    for path in Ledger::spooled_files(state_dir)? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let (container, ifname) = name.rsplit_once(':').unwrap_or((&name, EMPTY));
        others.push(other("spooled", container, ifname, EMPTY));
    }
    others.iter().for_each(widen);
    let line = |cells: [&str; HEADER.len()]| {
        let padded: Vec<_> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    writeln!(out, "{}", line(HEADER))?;
    for (_, key) in keys {
        // The record may have been removed or damaged meanwhile.
        if let Ok(Some(record)) = Ledger::summary_in(state_dir, &key) {
            let row = row(&record, &boot, now);
            writeln!(out, "{}", line(row.each_ref().map(String::as_str)))?;
        }
    }
    for row in &others {
        writeln!(out, "{}", line(row.each_ref().map(String::as_str)))?;
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

fn row(record: &Record, boot: &str, now: u64) -> Row {
    let planned = &record.planned;
    let networks: Vec<_> = planned
        .attachments
        .iter()
        .zip(&record.attachments)
        .map(|(attachment, state)| {
            let deleted = if state.deleted { "(deleted)" } else { "" };
            format!("{}={}{deleted}", attachment.ifname, attachment.network)
        })
        .collect();
    let failures = &record.del_failures;
    let (last, error) = match failures.count {
        0 => (EMPTY.to_owned(), EMPTY),
        _ => (
            age(now, failures.last_unix_ms),
            failures.last_error.as_str(),
        ),
    };
    [
        state(record, boot).to_owned(),
        age(now, planned.created_unix_ms),
        word(&planned.container_id),
        word(&planned.ifname),
        word(&planned.pod.to_string()),
        word(&networks.join(",")),
        failures.count.to_string(),
        last,
        one_line(error),
    ]
}

fn other(state: &str, container: &str, ifname: &str, error: &str) -> Row {
    let mut row = HEADER.map(|_| EMPTY.to_owned());
    state.clone_into(&mut row[0]);
    row[2] = word(container);
    row[3] = word(ifname);
    row[8] = one_line(error);
    row
}

fn state(record: &Record, boot: &str) -> &'static str {
    match record.phase() {
        Phase::Adding | Phase::Attached if record.planned.boot_id != boot => "before-reboot",
        Phase::Deleting if record.del_failures.count > 0 => "failed",
        phase => phase.as_str(),
    }
}

/// The text as one column: not empty, and without spaces.
fn word(text: &str) -> String {
    match text.split_whitespace().collect::<Vec<_>>().join("_") {
        word if word.is_empty() => EMPTY.to_owned(),
        word => word,
    }
}

/// The text in one line, without control characters.
fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The time since `then`, in at most two units: `45s`, `12m`, `3h20m`, `5d2h`.
fn age(now: u64, then: u64) -> String {
    let seconds = Duration::from_millis(now.saturating_sub(then)).as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..3600 => format!("{minutes}m"),
        3600..86_400 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{}d{}h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_at_most_two_units() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (12_000, "3h20m"),
            (439_200, "5d2h"),
        ] {
            assert_eq!(age(1000 * seconds + 999, 999), text);
        }
        assert_eq!(age(1, 5), "0s", "a clock that was set back");
    }

    #[test]
    fn a_column_is_one_word_and_an_error_is_one_line() {
        assert_eq!(word(""), "-");
        assert_eq!(word("a b\nc"), "a_b_c");
        assert_eq!(one_line("no\n answer \u{1b}[31m"), "no answer [31m");
    }
}
