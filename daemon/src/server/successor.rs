//! The daemon that has taken over, as the one before it sees it.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The path on which a daemon answers when it stops.
pub(super) const ALIVE: &str = "/alive";

/// Waits until the daemon at `socket` stops or dies. Ends at once where there is none.
pub async fn outlive(socket: &Path) {
    let watch = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("GET {ALIVE} HTTP/1.1\r\nHost: plexusd\r\n\r\n").as_bytes()).await?;
        // An answer says as much as an end without one.
        stream.read(&mut [0; 1]).await
    };
    if let Err(error) = watch.await {
        tracing::debug!(%error, "the daemon that took over is gone");
    }
}
