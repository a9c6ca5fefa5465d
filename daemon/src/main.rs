//! The entry point of plexusd.

use std::process::ExitCode;

use clap::Parser;
use plexusd::cli::{Cli, Command};
use plexusd::serve::Mode;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if matches!(command, Command::Serve(_) | Command::Uninstall(_)) {
        plexusd::allocator::configure();
    }
    let outcome = match command {
        Command::Serve(args) => plexusd::serve::serve(&args, Mode::Install),
        Command::Uninstall(args) => plexusd::serve::serve(&args, Mode::Uninstall),
        Command::Status(args) => plexusd::commands::status(&args),
        Command::Ledger(args) => plexusd::commands::ledger(&args),
        Command::Doctor(args) => return exit(plexusd::commands::doctor(&args)),
        Command::Inspect(args) => plexusd::commands::inspect(&args),
        Command::LogLevel(args) => plexusd::commands::log_level(&args),
        Command::Probe(args) => plexusd::commands::probe(&args),
        Command::Lint(args) => plexusd::commands::lint(&args),
        Command::Plan(args) => plexusd::commands::plan(&args),
        Command::LaunchPlugins => plexusd::commands::launch_plugins(),
        Command::Crd => plexusd::commands::crd(&mut std::io::stdout().lock()),
    };
    exit(outcome.map(|()| ExitCode::SUCCESS))
}

fn exit(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        if error.is::<plexusd::serve::Logged>() {
            return ExitCode::FAILURE;
        }
        // `#` prints the error and its causes on one line, like a log line.
        let text = format!("plexusd: {error:#}");
        eprintln!("{}", plexus_api::without_os_codes(&text));
        ExitCode::FAILURE
    })
}
