//! `plexusd ledger`: lists, retries and abandons the records of this node.

mod abandon;
mod list;
mod retry;

use std::io::{self, Write};

use crate::cli::{LedgerArgs, LedgerCommand};

/// Lists, retries or abandons records. Listing needs neither the daemon nor the lock.
///
/// # Errors
/// The ledger cannot be read or written, has no such record, or a DEL failed again.
pub fn ledger(args: &LedgerArgs) -> anyhow::Result<()> {
    let (state_dir, out) = (&args.state_dir, &mut io::stdout().lock());
    match &args.command {
        LedgerCommand::List(args) => {
            let mut out = io::BufWriter::new(out);
            list::print(state_dir, args.output, &mut out)?;
            Ok(out.flush()?)
        }
        LedgerCommand::Abandon(args) => abandon::run(state_dir, args, out),
        LedgerCommand::Retry(args) => retry::run(state_dir, args, out),
    }
}
