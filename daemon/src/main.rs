//! plexusd: see the library.

use clap::Parser;
use plexusd::cli::{Cli, Command};

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(serve) => plexusd::app::serve(&serve),
        Command::Ledger(ledger) => plexusd::app::ledger(&ledger),
    }
}
