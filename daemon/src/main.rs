//! The entry point of plexusd.

use std::process::ExitCode;

use clap::Parser;
use plexusd::cli::{Cli, Command};
use plexusd::serve::Mode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => plexusd::serve::serve(&serve, Mode::Install),
        Command::Uninstall(serve) => plexusd::serve::serve(&serve, Mode::Uninstall),
        Command::Ledger(ledger) => plexusd::commands::ledger(&ledger),
        Command::Probe(probe) => plexusd::commands::probe(&probe),
        Command::Crd => plexusd::commands::crd(&mut std::io::stdout().lock()),
    };
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    // One line, because it is the last line of the log.
    eprintln!("plexusd: {error:#}");
    ExitCode::FAILURE
}
