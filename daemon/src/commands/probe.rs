//! `plexusd probe`: asks the daemon over its socket, for the probes of a DaemonSet.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use plexus_api::wire::SOCKET_NAME;

use crate::cli::{Probe, ProbeWhat};
use crate::file_id::FileId;
use crate::server::{Reply, get};

/// The time limit of the daemon's response. The time limit of a kubelet probe must be longer, so that kubelet gets the
/// reason of a failure.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// Succeeds if the daemon reports that it is alive or ready.
///
/// # Errors
/// The daemon does not respond, or reports a problem.
pub fn probe(args: &Probe) -> anyhow::Result<()> {
    let path = match args.what {
        ProbeWhat::Live => "/healthz",
        ProbeWhat::Ready => "/readyz",
    };
    let socket = args.socket_dir.join(SOCKET_NAME);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let reply = runtime.block_on(async {
        let timed_out = |_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no response within {TIME_LIMIT:?}"),
            )
        };
        tokio::time::timeout(TIME_LIMIT, get(&socket, path))
            .await
            .map_err(timed_out)?
    });
    let Reply {
        status,
        body,
        server,
    } = reply.with_context(|| format!("plexusd at {}", socket.display()))?;
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim_end())
    }
    // Otherwise the response of the old daemon would make the pod of a new daemon ready that never takes over, and the
    // roll-out would stop the old one. For liveness any daemon suffices, because this one may stand by.
    if let (ProbeWhat::Ready, Some(pid)) =
        (args.what, server.filter(|pid| is_in_other_container(*pid)))
    {
        bail!(
            "the plexusd at {} runs in another container (pid {pid}); this one does not serve",
            socket.display()
        )
    }
    Ok(())
}

/// Whether a process is in another mount namespace. False if its namespace cannot be read.
fn is_in_other_container(pid: i32) -> bool {
    let namespace = |process: &str| FileId::of(format!("/proc/{process}/ns/mnt"));
    matches!((namespace(&pid.to_string()), namespace("self")), (Ok(theirs), Ok(own)) if theirs != own)
}
