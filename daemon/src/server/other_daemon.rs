//! Detection of another daemon on the same socket, and what it is.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::client::get;

/// The path to which a daemon responds when that daemon stops.
pub(super) const ALIVE: &str = "/alive";

/// The path with the generation of the daemon, as a decimal number.
pub(super) const GENERATION: &str = "/generation";
/// The time limit of the response. A daemon that hangs does not block its successor.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// The generation of the daemon that listens on `socket`. `None` if no daemon listens, or if the
/// daemon has no generation.
pub(crate) async fn other_generation(socket: &Path) -> Option<u64> {
    let response = timeout(TIME_LIMIT, get(socket, GENERATION))
        .await
        .ok()?
        .ok()?;
    std::str::from_utf8(&response.body).ok()?.parse().ok()
}

/// Waits until no daemon listens on `socket`. If that daemon hands over to another daemon, waits
/// for that one as well.
pub(crate) async fn wait_until_no_daemon(socket: &Path) {
    loop {
        let mut stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "no other daemon"),
        };
        let request = format!("GET {ALIVE} HTTP/1.1\r\nHost: plexusd\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_ok() {
            // A response and the end of the connection mean the same.
            let _ = stream.read(&mut [0; 1]).await;
        }
    }
}
