//! `plexusd ledger list`: the records with their state and age, and the last error of their DEL.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::clock::{boot_id, unix_ms};
use crate::ledger::{Ledger, Phase, Record};

const HEADER: [&str; 6] = ["STATE", "AGE", "CONTAINER", "IFNAME", "POD", "NETWORKS"];

/// Prints a table of the records, the oldest first, with the last DEL error below each record.
/// Prints no table if there are no records. Unreadable records and spooled DELs follow.
///
/// The records are read twice, once for the widths of the columns, and never held in memory.
pub(super) fn print(state_dir: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let (boot, now) = (boot_id()?, unix_ms());
    let (mut keys, mut unreadable) = (Vec::new(), Vec::new());
    let mut widths = HEADER.map(str::len);
    for record in Ledger::summaries(state_dir)? {
        match record {
            Ok(record) => {
                for (width, cell) in widths.iter_mut().zip(row(&record, &boot, now)) {
                    *width = (*width).max(cell.chars().count());
                }
                keys.push((record.planned.created_unix_ms, record.planned.key()));
            }
            Err(error) => unreadable.push(error),
        }
    }
    keys.sort();
    let line = |cells: [&str; 6]| {
        let padded: Vec<_> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    if !keys.is_empty() {
        writeln!(out, "{}", line(HEADER))?;
    }
    for (_, key) in keys {
        // The record may have been removed or damaged meanwhile.
        let Ok(Some(record)) = Ledger::summary_in(state_dir, &key) else {
            continue;
        };
        let row = row(&record, &boot, now);
        writeln!(out, "{}", line(row.each_ref().map(String::as_str)))?;
        let failures = &record.del_failures;
        if failures.count > 0 {
            let last = age(now, failures.last_unix_ms);
            writeln!(
                out,
                "  DEL failed {} times, last {last} ago: {}",
                failures.count, failures.last_error
            )?;
        }
    }
    for error in unreadable {
        writeln!(out, "error: {error}")?;
    }
    for path in Ledger::spooled_files(state_dir)? {
        writeln!(out, "spooled DEL: {}", path.display())?;
    }
    Ok(())
}

fn row(record: &Record, boot: &str, now: u64) -> [String; 6] {
    let planned = &record.planned;
    let networks: Vec<_> = planned
        .attachments
        .iter()
        .zip(&record.attachments)
        .map(|(attachment, state)| {
            let deleted = if state.deleted { " (deleted)" } else { "" };
            format!("{}={}{deleted}", attachment.ifname, attachment.network)
        })
        .collect();
    [
        state(record, boot).to_owned(),
        age(now, planned.created_unix_ms),
        planned.container_id.clone(),
        planned.ifname.clone(),
        planned.pod.to_string(),
        networks.join(","),
    ]
}

fn state(record: &Record, boot: &str) -> &'static str {
    match record.phase() {
        Phase::Adding | Phase::Attached if record.planned.boot_id != boot => "before-reboot",
        phase => phase.as_str(),
    }
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
}
