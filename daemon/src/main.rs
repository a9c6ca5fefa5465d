//! plexusd: see the library.

use clap::Parser;
use plexusd::app::Duty;
use plexusd::cli::{Cli, Command};

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Serve(serve) => plexusd::app::serve(&serve, Duty::Install),
        Command::Uninstall(serve) => plexusd::app::serve(&serve, Duty::Uninstall),
        Command::Ledger(ledger) => plexusd::app::ledger(&ledger),
    }
}
