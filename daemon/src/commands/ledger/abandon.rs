//! `plexusd ledger abandon`.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use plexus_api::wire::SOCKET_NAME;
use tokio_util::sync::CancellationToken;

use crate::call_limits::CallLimits;
use crate::cli::AbandonArgs;
use crate::clock::boot_id;
use crate::commands::daemon::{block_on, success, unanswered};
use crate::ledger::{AbandonOutcome, AbandonRequest, AbandonSelection, AbandonedRecord, Ledger};
use crate::server::{ABANDON, no_daemon, post};

/// How long to wait for the ledger if no daemon responds. A daemon may be shutting down.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Abandons records. What `--orphaned`, `--pod` or `--network` selects is only printed without
/// `--yes`.
pub(super) fn run(
    state_dir: &Path,
    args: &AbandonArgs,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let AbandonArgs {
        container,
        ifname,
        pod,
        network,
        ..
    } = args;
    let (selection, needs_yes) = match (container, pod, network) {
        (Some(container), ..) => (
            AbandonSelection::Container {
                container_id: container.clone(),
                ifname: ifname.clone(),
            },
            false,
        ),
        (_, Some(pod), _) => (AbandonSelection::Pod(pod.clone()), true),
        (.., Some(network)) => (AbandonSelection::Network(network.clone()), true),
        _ => (AbandonSelection::Orphaned, true),
    };
    let request = AbandonRequest {
        selection,
        dry_run: needs_yes && !args.yes,
    };
    let socket = args.socket_dir.join(SOCKET_NAME);
    let outcome = block_on(abandon(state_dir, &socket, &request))?;
    print(&outcome.abandoned, request.dry_run, out)?;
    match outcome.error {
        Some(error) => bail!("the remaining records are unchanged: {error}"),
        None => Ok(()),
    }
}

/// Abandons records, through the daemon if one runs, because only the owner of the ledger may
/// write.
async fn abandon(
    state_dir: &Path,
    socket: &Path,
    request: &AbandonRequest,
) -> anyhow::Result<AbandonOutcome> {
    match post(socket, ABANDON, serde_json::to_vec(request)?).await {
        Ok(response) => {
            serde_json::from_slice(&success(response)?).context("the daemon's response")
        }
        Err(error) if no_daemon(&error) => {
            let ledger = Ledger::open(state_dir, LOCK_WAIT)
                .with_context(|| format!("no plexusd listens at {} ({error})", socket.display()))?;
            // No other process can hold a lock of this ledger.
            let limits = CallLimits::background("abandon", CancellationToken::new());
            Ok(ledger.abandon(request, &boot_id()?, &limits).await?)
        }
        Err(error) => Err(unanswered(socket, error)),
    }
}

fn print(abandoned: &[AbandonedRecord], dry_run: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let verb = if dry_run {
        "would abandon"
    } else {
        "abandoned"
    };
    for AbandonedRecord {
        container_id,
        ifname,
        pod,
        left,
    } in abandoned
    {
        writeln!(out, "{verb} {container_id} {ifname} {pod}")?;
        for left in left {
            writeln!(out, "  may be left on the node: {left}")?;
        }
    }
    match abandoned.len() {
        0 => writeln!(out, "no record is selected")?,
        _ if dry_run => writeln!(out, "nothing was changed; repeat the command with --yes")?,
        _ => {}
    }
    Ok(())
}
