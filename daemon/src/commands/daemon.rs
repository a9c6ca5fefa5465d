//! Requests to the running daemon.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, bail};
use hyper::StatusCode;
use plexus_api::cni::CniError;
use tokio::runtime::Runtime;

use crate::server::{self, Response, no_daemon};

pub(super) fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    runtime()?.block_on(task)
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// The error if the daemon at `socket` does not respond.
pub(super) fn unanswered(socket: &Path, error: io::Error) -> anyhow::Error {
    let path = socket.display();
    if no_daemon(&error) {
        anyhow!("no plexusd listens at {path}; is it running? --socket-dir names another directory")
    } else if error.kind() == io::ErrorKind::PermissionDenied {
        anyhow!("plexusd at {path}: {error}; run this command as root")
    } else {
        anyhow::Error::from(error).context(format!("plexusd at {path}"))
    }
}

/// Sends `GET path` to the daemon at `socket`.
///
/// # Errors
/// See [`server::get`]; also if the daemon has not responded within `limit`.
pub(super) fn get(socket: &Path, path: &str, limit: Duration) -> io::Result<Response> {
    let timed_out = |_| {
        let text = format!("no response within {limit:?}");
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    runtime()?.block_on(async {
        tokio::time::timeout(limit, server::get(socket, path))
            .await
            .map_err(timed_out)?
    })
}

/// The body of a response of the daemon, or the error in it.
pub(super) fn success(response: Response) -> anyhow::Result<Vec<u8>> {
    let Response { status, body, .. } = response;
    if status.is_success() {
        return Ok(body.to_vec());
    }
    if status == StatusCode::NOT_FOUND {
        bail!(
            "the running plexusd does not know this request; use the subcommands of its own version"
        )
    }
    match serde_json::from_slice::<CniError>(&body) {
        Ok(error) => bail!("{}", error.msg),
        // A plain text, as for an unknown log level.
        Err(_) if !body.is_empty() => bail!("{}", String::from_utf8_lossy(&body).trim_end()),
        Err(_) => bail!("plexusd responded with HTTP {status}"),
    }
}
