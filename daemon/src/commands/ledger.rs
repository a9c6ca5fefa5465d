//! `plexusd ledger`: what is attached, for the person who debugs the node at three in the morning.

mod list;

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use plexus_api::cni::CniError;
use plexus_api::wire::SOCKET_NAME;

use crate::cli::{LedgerArgs, LedgerCommand};
use crate::ledger::{Abandon, Abandoned, Ledger};
use crate::server::{ABANDON, Reply, post};

/// How long to wait for the ledger where no daemon answers: one may be about to end.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Prints the ledger, for which it needs neither daemon nor lock, or gives up records.
///
/// # Errors
/// A ledger that cannot be read or written; no such record.
pub fn ledger(args: &LedgerArgs) -> anyhow::Result<()> {
    match &args.command {
        LedgerCommand::List => list::print(&args.state_dir, &mut io::stdout().lock()),
        LedgerCommand::Abandon {
            container,
            ifname,
            socket_dir,
        } => {
            let which = Abandon {
                container_id: container.clone(),
                ifname: ifname.clone(),
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let abandoned = runtime.block_on(abandon(
                &args.state_dir,
                &socket_dir.join(SOCKET_NAME),
                &which,
            ))?;
            tell(&abandoned, &mut io::stdout().lock())
        }
    }
}

/// The daemon does it where one runs: only who has the lock may write.
async fn abandon(
    state_dir: &Path,
    socket: &Path,
    which: &Abandon,
) -> anyhow::Result<Vec<Abandoned>> {
    match post(socket, ABANDON, serde_json::to_vec(which)?).await {
        Ok(Reply { status, body, .. }) if status.is_success() => {
            serde_json::from_slice(&body).context("the daemon's answer")
        }
        Ok(Reply { status, body, .. }) => match serde_json::from_slice::<CniError>(&body) {
            Ok(error) => bail!("{}", error.msg),
            Err(_) => bail!(
                "plexusd answers {status}: {}",
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
                .with_context(|| format!("no plexusd answers at {} ({error})", socket.display()))?;
            Ok(ledger.abandon(which).await?)
        }
        Err(error) => Err(error).with_context(|| format!("plexusd at {}", socket.display())),
    }
}

fn tell(abandoned: &[Abandoned], out: &mut impl Write) -> anyhow::Result<()> {
    for Abandoned {
        container_id,
        ifname,
        pod,
        left,
    } in abandoned
    {
        writeln!(out, "abandoned {container_id} {ifname} {pod}")?;
        for left in left {
            writeln!(out, "  may be left: {left}")?;
        }
    }
    Ok(())
}
