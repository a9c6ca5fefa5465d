//! Detection of another daemon on the same socket.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The path on which a daemon answers when it stops.
pub(super) const ALIVE: &str = "/alive";

/// Waits until no daemon listens on `socket`. A daemon that hands over to another one is followed by that one.
pub(crate) async fn wait_until_no_daemon(socket: &Path) {
    loop {
        let mut stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "no other daemon"),
        };
        let request = format!("GET {ALIVE} HTTP/1.1\r\nHost: plexusd\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_ok() {
            // An answer and the end of the connection mean the same.
            let _ = stream.read(&mut [0; 1]).await;
        }
    }
}
