//! Detection of another daemon on the same socket, and what it is.

use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::client::{get, no_daemon};

/// The path to which a daemon responds when that daemon stops.
pub(super) const ALIVE: &str = "/alive";

/// The path with the generation of the daemon, as a decimal number.
pub(super) const GENERATION: &str = "/generation";
/// The time limit of the response. A daemon that hangs does not block its successor.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// The start of the response of a daemon that has too many connections.
const REFUSED: &[u8; 12] = b"HTTP/1.1 503";
/// The pause before the next connection, if a daemon is there but cannot be asked.
const PAUSE: Duration = Duration::from_millis(100);

/// The generation of the daemon that listens on `socket`. `None` if no daemon listens, if the daemon
/// has no generation, or if it does not respond within [`TIME_LIMIT`].
pub(crate) async fn other_generation(socket: &Path) -> Option<u64> {
    timeout(TIME_LIMIT, generation(socket)).await.ok().flatten()
}

async fn generation(socket: &Path) -> Option<u64> {
    loop {
        match get(socket, GENERATION).await {
            Ok(response) if response.status == StatusCode::SERVICE_UNAVAILABLE => {}
            Ok(response) => return std::str::from_utf8(&response.body).ok()?.parse().ok(),
            Err(error) if no_daemon(&error) => return None,
            Err(error) => tracing::debug!(%error, "the other daemon cannot be asked yet"),
        }
        sleep(PAUSE).await;
    }
}

/// Waits until no daemon listens on `socket`. If that daemon hands over to another daemon, waits
/// for that one as well.
pub(crate) async fn wait_until_no_daemon(socket: &Path) {
    loop {
        let mut stream = match UnixStream::connect(socket).await {
            Ok(stream) => stream,
            Err(error) if no_daemon(&error) => return tracing::debug!(%error, "no other daemon"),
            Err(error) => {
                tracing::debug!(%error, "cannot connect to the other daemon");
                sleep(PAUSE).await;
                continue;
            }
        };
        let request = format!("GET {ALIVE} HTTP/1.1\r\nHost: plexusd\r\n\r\n");
        // A daemon that refuses the connection does not wait for the request.
        let _ = stream.write_all(request.as_bytes()).await;
        // Any other response and the end of the connection mean the same.
        let mut status = [0; REFUSED.len()];
        if stream.read_exact(&mut status).await.is_ok() && status == *REFUSED {
            sleep(PAUSE).await;
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
        assert!(start.elapsed() >= PAUSE, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_daemon_that_refuses_a_connection_still_has_its_generation() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).expect("bind");
        let serve = async {
            let seven = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7";
            for response in [TOO_MANY_CONNECTIONS, seven] {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let request = stream.read(&mut [0; 1024]).await;
                assert!(request.expect("a request") > 0);
                stream.write_all(response).await.expect("a response");
            }
        };
        let (generation, ()) = tokio::join!(generation(&socket), serve);
        assert_eq!(generation, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_refused_connection_or_a_missing_socket_means_no_daemon() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("socket");
        wait_until_no_daemon(&socket).await;
        drop(UnixListener::bind(&socket).expect("bind"));
        wait_until_no_daemon(&socket).await;
        let looped = dir.path().join("loop");
        std::os::unix::fs::symlink(&looped, &looped).expect("a link");
        let waited = timeout(10 * PAUSE, wait_until_no_daemon(&looped)).await;
        assert!(waited.is_err(), "the connection fails for another reason");
        std::fs::remove_file(&looped).expect("remove");
        wait_until_no_daemon(&looped).await;
    }
}
