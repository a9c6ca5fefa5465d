//! `plexusd ledger`: lists and abandons the records of this node.

mod list;

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use plexus_api::cni::CniError;
use plexus_api::wire::SOCKET_NAME;
use tokio_util::sync::CancellationToken;

use crate::call_limits::CallLimits;
use crate::cli::{LedgerArgs, LedgerCommand};
use crate::ledger::{AbandonRequest, AbandonedRecord, Ledger};
use crate::server::{ABANDON, Response, post};

/// How long to wait for the ledger if no daemon responds. A daemon may be shutting down.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Lists or abandons records. Listing needs neither the daemon nor the lock.
///
/// # Errors
/// The ledger cannot be read or written, or has no such record.
pub fn ledger(args: &LedgerArgs) -> anyhow::Result<()> {
    match &args.command {
        LedgerCommand::List => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            list::print(&args.state_dir, &mut out)?;
            Ok(out.flush()?)
        }
        LedgerCommand::Abandon {
            container,
            ifname,
            socket_dir,
        } => {
            let request = AbandonRequest {
                container_id: container.clone(),
                ifname: ifname.clone(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let abandoned = runtime.block_on(abandon(
                &args.state_dir,
                &socket_dir.join(SOCKET_NAME),
                &request,
            ))?;
            print_abandoned(&abandoned, &mut io::stdout().lock())
        }
    }
}

/// Abandons records, through the daemon if one runs, because only the owner of the ledger may
/// write.
async fn abandon(
    state_dir: &Path,
    socket: &Path,
    request: &AbandonRequest,
) -> anyhow::Result<Vec<AbandonedRecord>> {
    match post(socket, ABANDON, serde_json::to_vec(request)?).await {
        Ok(Response { status, body, .. }) if status.is_success() => {
            serde_json::from_slice(&body).context("the daemon's response")
        }
        Ok(Response { status, body, .. }) => match serde_json::from_slice::<CniError>(&body) {
            Ok(error) => bail!("{}", error.msg),
            Err(_) => bail!(
                "plexusd responded with HTTP {status}: {}",
                String::from_utf8_lossy(&body)
            ),
        },
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            let ledger = Ledger::open(state_dir, LOCK_WAIT)
                .with_context(|| format!("no plexusd listens at {} ({error})", socket.display()))?;
            // No other process can hold a lock of this ledger.
            let limits = CallLimits::background("abandon", CancellationToken::new());
            Ok(ledger.abandon(request, &limits).await?)
        }
        Err(error) => Err(error).with_context(|| format!("plexusd at {}", socket.display())),
    }
}

fn print_abandoned(abandoned: &[AbandonedRecord], out: &mut impl Write) -> anyhow::Result<()> {
    for AbandonedRecord {
        container_id,
        ifname,
        pod,
        left,
    } in abandoned
    {
        writeln!(out, "abandoned {container_id} {ifname} {pod}")?;
        for left in left {
            writeln!(out, "  may be left on the node: {left}")?;
        }
    }
    Ok(())
}
