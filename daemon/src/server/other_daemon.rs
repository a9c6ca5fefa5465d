//! Detection of another daemon on the same socket, and what it is.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::client::get;

/// The path to which a daemon responds when that daemon stops.
pub(super) const ALIVE: &str = "/alive";

/// The path with the generation of the daemon, as a decimal number.
pub(super) const GENERATION: &str = "/generation";
/// The time limit of the response. A daemon that hangs does not block its successor.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// The begin of the response of a daemon that has too many connections.
const REFUSED: &[u8; 12] = b"HTTP/1.1 503";
/// The pause before the next connection after such a response.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

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
        // A daemon that refuses the connection does not wait for the request.
        let _ = stream.write_all(request.as_bytes()).await;
        // Any other response and the end of the connection mean the same.
        let mut status = [0; REFUSED.len()];
        if stream.read_exact(&mut status).await.is_ok() && status == *REFUSED {
            sleep(REFUSED_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;
    use tokio::time::Instant;

    use super::*;
    use crate::server::listener::TOO_MANY_CONNECTIONS;

    #[tokio::test(start_paused = true)]
    async fn a_refused_connection_is_tried_again_after_a_pause() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("bind");
        let refuse = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let refused = stream.write_all(TOO_MANY_CONNECTIONS).await;
            drop((stream, listener));
            refused.expect("a response");
        };
        let start = Instant::now();
        tokio::join!(wait_until_no_daemon(&socket), refuse);
        assert!(start.elapsed() >= REFUSED_PAUSE, "{:?}", start.elapsed());
    }
}
