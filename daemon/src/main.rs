//! plexusd: see the library.

use std::process::ExitCode;

use clap::Parser;
use plexusd::app::Duty;
use plexusd::cli::{Cli, Command};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => plexusd::app::serve(&serve, Duty::Install),
        Command::Uninstall(serve) => plexusd::app::serve(&serve, Duty::Uninstall),
        Command::Ledger(ledger) => plexusd::app::ledger(&ledger),
        Command::Probe(probe) => plexusd::app::probe(&probe),
        Command::Crd => plexusd::app::crd(&mut std::io::stdout().lock()),
    };
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    // One line: it is the last of a log, and what an administrator searches for.
    eprintln!("plexusd: {error:#}");
    ExitCode::FAILURE
}
