//! The socket: made with rights for root alone, and handed over to the next daemon by renaming.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use plexus_api::wire::SOCKET_NAME;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

/// A caller sends its request within this time, or is cut off.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    allowed_uid: Option<u32>,
}

impl Listener {
    /// Binds `plexus.sock` in `dir` (0700, made where it is missing) with mode 0600. An older socket of that name is
    /// replaced in one step, so that a caller meets the old daemon or the new one, never none.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn bind(dir: &Path, allowed_uid: Option<u32>) -> io::Result<Self> {
        let at = |error: io::Error, path: &Path| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.and_then(|()| std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700))).map_err(|e| at(e, dir))?;
        let path = dir.join(SOCKET_NAME);
        let fresh = dir.join(format!(".{SOCKET_NAME}.{}", std::process::id()));
        let bind = || {
            match std::fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let socket = UnixListener::bind(&fresh)?;
            std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o600))?;
            std::fs::rename(&fresh, &path)?;
            Ok(socket)
        };
        let socket = bind().map_err(|error| at(error, &path))?;
        Ok(Self { socket, path, allowed_uid })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves callers until `stop`, then waits for the answers that are under way.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        let graceful = GracefulShutdown::new();
        loop {
            let stream = tokio::select! {
                accepted = self.socket.accept() => accepted,
                () = stop.cancelled() => break,
            };
            match stream {
                Ok((stream, _)) if self.admits(&stream) => {
                    let service = TowerToHyperService::new(router.clone());
                    let connection = hyper::server::conn::http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(REQUEST_TIMEOUT)
                        .serve_connection(TokioIo::new(stream), service);
                    let connection = graceful.watch(connection);
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection ended early");
                        }
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    // Out of descriptors, most likely: others must end before this can go on.
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.socket);
        graceful.shutdown().await;
    }

    /// Root and the configured user may call; the directory's rights keep others out already.
    fn admits(&self, stream: &UnixStream) -> bool {
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == 0 || Some(peer.uid()) == self.allowed_uid => true,
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), pid = peer.pid(), "refused a caller that is not root");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "refused a caller of unknown identity");
                false
            }
        }
    }
}
