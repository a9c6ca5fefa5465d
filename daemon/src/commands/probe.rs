//! `plexusd probe`: asks the daemon over its socket, for the probes of a DaemonSet.

use std::time::Duration;

use anyhow::bail;
use plexus_api::wire::SOCKET_NAME;

use super::daemon;
use crate::cli::{ProbeArgs, ProbeKind};
use crate::file_id::FileId;
use crate::server::Response;

/// The time limit of the daemon's response. The timeout of the kubelet probe must be longer, so
/// that kubelet gets the reason for a failure.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// Succeeds if the daemon reports that it is alive or ready.
///
/// # Errors
/// The daemon does not respond, or reports a problem.
pub fn probe(args: &ProbeArgs) -> anyhow::Result<()> {
    let path = match args.probe {
        ProbeKind::Live => "/healthz",
        ProbeKind::Ready => "/readyz",
    };
    let socket = args.socket_dir.join(SOCKET_NAME);
    let Response {
        status,
        body,
        server_pid,
    } = daemon::get(&socket, path, TIME_LIMIT)
        .map_err(|error| daemon::unanswered(&socket, error))?;
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim_end())
    }
    // The response of the old daemon must not make the pod of a new daemon ready that never takes
    // over: the rollout would then stop the old daemon. For liveness any daemon suffices, because
    // this one may stand by.
    if let (ProbeKind::Ready, Some(pid)) = (
        args.probe,
        server_pid.filter(|pid| is_in_other_container(*pid)),
    ) {
        bail!(
            "the plexusd at {} runs in another container (pid {pid}); the plexusd of this container does not serve",
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
