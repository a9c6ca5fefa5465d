//! Detection of another daemon on the same socket.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The path to which a daemon responds when that daemon stops.
pub(super) const ALIVE: &str = "/alive";

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
