//! The daemon that has taken over, as the one before it sees it.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The path on which a daemon answers when it stops.
pub(super) const ALIVE: &str = "/alive";

/// Waits until no daemon is at `socket`. One that hands over to another is followed by that one.
pub(crate) async fn outlive(socket: &Path) {
    loop {
        let mut stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "no other daemon"),
        };
        let request = format!("GET {ALIVE} HTTP/1.1\r\nHost: plexusd\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_ok() {
            // An answer says as much as an end without one.
            let _ = stream.read(&mut [0; 1]).await;
        }
    }
}
