//! `plexusd doctor`: checks the node, one thing after the other, and prints what is wrong and what to
//! do.
//!
//! Each check is a function that returns findings. A check that needs another one is skipped if that
//! one has failed, so that the first findings name causes. Nothing is changed without `--fix`.

mod api_server;
mod check;
mod daemon_process;
mod default_network;
mod definitions;
mod facts;
mod finding;
mod fix;
mod installation;
mod interfaces;
mod leases;
mod objects;
mod pods;
mod process;
mod reachability;
mod records;
mod report;
mod state_directory;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::timeout;

pub use check::Check;
pub(super) use facts::Facts;
pub(super) use pods::try_plan;

use crate::cli::{DaemonArgs, DoctorArgs};
use finding::{Finding, Outcome};
use report::Report;

/// The time limit for one check. Each wait in a check has its own limit; this one is for a file
/// system that does not respond.
const CHECK_LIMIT: Duration = Duration::from_mins(1);

/// Checks the node, and prints the findings. Returns the exit code of the worst one.
///
/// # Errors
/// The findings cannot be printed.
pub fn doctor(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let report = runtime.block_on(examine(args));
    // A thread that waits for a file system does not delay the end of the process.
    runtime.shutdown_background();
    report.print(args.output, &mut io::stdout().lock())?;
    Ok(report.exit_code())
}

/// Reads what the daemon knows: its configuration, the pods, the definitions and the default network.
/// Also returns what is missing.
///
/// # Errors
/// The configuration cannot be used.
pub(super) async fn read_facts(args: &DaemonArgs) -> anyhow::Result<(Facts, Vec<String>)> {
    let mut facts = Facts::read(args).map_err(|finding| anyhow::anyhow!("{finding}"))?;
    let mut missing = Vec::new();
    for check in [
        Check::MountNamespace,
        Check::ApiServer,
        Check::Objects,
        Check::DefaultNetwork,
    ] {
        let outcome = timeout(CHECK_LIMIT, check.run(&mut facts)).await?;
        if let Outcome::Findings(findings) = outcome {
            missing.extend(findings.iter().map(Finding::to_string));
        }
    }
    Ok((facts, missing))
}

async fn examine(args: &DoctorArgs) -> Report {
    let mut report = Report::default();
    let [configuration, others @ ..] = Check::ALL;
    let mut facts = match Facts::read(&args.daemon) {
        Ok(facts) => {
            report.add(configuration, facts.configuration_warnings().into());
            Some(facts)
        }
        Err(finding) => {
            report.add(configuration, Some(*finding).into());
            None
        }
    };
    for check in others {
        let Some(facts) = facts.as_mut() else {
            report.skip(check, configuration);
            continue;
        };
        if let Some(cause) = report.unmet(check.needs()) {
            report.skip(check, cause);
            continue;
        }
        let outcome = timeout(CHECK_LIMIT, check.run(facts)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            let text = format!("no result within {CHECK_LIMIT:?}");
            Some(Finding::failed("doctor", text)).into()
        });
        report.add(check, outcome);
    }
    if let Some(facts) = facts.as_ref().filter(|_| args.fix) {
        fix::fix(&mut report, facts).await;
    }
    report
}
