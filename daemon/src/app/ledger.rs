//! `plexusd ledger`: what is attached, for the person who debugs the node.

use std::io::Write;

use crate::cli::{LedgerArgs, LedgerCommand};
use crate::ledger::Ledger;

/// Prints the ledger; needs no daemon and no lock.
///
/// # Errors
/// A ledger that cannot be read.
pub fn ledger(args: &LedgerArgs) -> anyhow::Result<()> {
    let LedgerCommand::List = args.command;
    let mut out = std::io::stdout().lock();
    for record in Ledger::read_all(&args.state_dir)? {
        match record {
            Ok(record) => {
                let planned = &record.planned;
                let networks: Vec<_> =
                    planned.attachments.iter().map(|a| format!("{}={}", a.ifname, a.network)).collect();
                let state = if record.orphaned {
                    "orphaned"
                } else if record.del_failures.count > 0 {
                    "deleting"
                } else if record.completed {
                    "attached"
                } else {
                    "adding"
                };
                writeln!(
                    out,
                    "{} {} {} {state} {}",
                    planned.container_id,
                    planned.ifname,
                    planned.pod,
                    networks.join(",")
                )?;
            }
            Err(error) => writeln!(out, "unreadable: {error}")?,
        }
    }
    Ok(())
}
