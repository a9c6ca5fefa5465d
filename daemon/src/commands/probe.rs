//! `plexusd probe`: a round trip over the socket, as the shim makes one.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use plexus_api::wire::SOCKET_NAME;

use crate::cli::{Probe, ProbeWhat};
use crate::file_id::FileId;
use crate::server::{Reply, get};

/// How long the daemon may take. A probe of kubelet that is given more time gets to read why.
const PATIENCE: Duration = Duration::from_secs(4);

/// Succeeds if the daemon says that it is well.
///
/// # Errors
/// It does not answer, or what it says.
pub fn probe(args: &Probe) -> anyhow::Result<()> {
    let path = match args.what {
        ProbeWhat::Live => "/healthz",
        ProbeWhat::Ready => "/readyz",
    };
    let socket = args.socket_dir.join(SOCKET_NAME);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(async {
        let late = |_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {PATIENCE:?}"),
            )
        };
        tokio::time::timeout(PATIENCE, get(&socket, path))
            .await
            .map_err(late)?
    });
    let Reply {
        status,
        body,
        server,
    } = answer.with_context(|| format!("plexusd at {}", socket.display()))?;
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim_end())
    }
    // Else the old one would speak for a new one that never comes up, and be stopped for it. One that stands by lives.
    if let (ProbeWhat::Ready, Some(pid)) = (args.what, server.filter(|pid| is_elsewhere(*pid))) {
        bail!(
            "the plexusd at {} is that of another container (pid {pid}); this one does not serve",
            socket.display()
        )
    }
    Ok(())
}

/// Whether a process is in another mount namespace, as far as can be seen.
fn is_elsewhere(pid: i32) -> bool {
    let namespace = |process: &str| FileId::of(format!("/proc/{process}/ns/mnt"));
    matches!((namespace(&pid.to_string()), namespace("self")), (Ok(theirs), Ok(own)) if theirs != own)
}
