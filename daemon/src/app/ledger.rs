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
                let (phase, networks) = (record.phase(), planned.networks());
                writeln!(out, "{} {} {} {phase} {networks}", planned.container_id, planned.ifname, planned.pod)?;
            }
            Err(error) => writeln!(out, "unreadable: {error}")?,
        }
    }
    Ok(())
}
