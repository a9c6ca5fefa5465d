//! The socket: made with rights for root alone, and handed over to the next daemon by renaming.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use futures_util::StreamExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use inotify::{EventStream, Inotify, WatchMask};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::host::Hosts;

/// A caller sends the head of its request within this time, or is cut off.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    allowed_uid: Option<u32>,
    hosts: Hosts,
    /// What tells this socket from one that another daemon puts in its place.
    inode: u64,
    changes: EventStream<[u8; 4096]>,
}

/// Why [`Listener::serve`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// Another daemon has put its socket in place of this one.
    Superseded,
}

impl Listener {
    /// Binds the socket `name` in `dir` (0700, made where it is missing) with mode 0600. An older socket of that name is
    /// replaced in one step, so that a caller meets the old daemon or the new one, never none.
    ///
    /// # Errors
    /// The system's, with the path.
    pub fn bind(dir: &Path, name: &str, allowed_uid: Option<u32>, hosts: Hosts) -> io::Result<Self> {
        let at = |error: io::Error, path: &Path| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        let close = || std::fs::set_permissions(own_directory(dir)?, PermissionsExt::from_mode(0o700));
        made.and_then(|()| close()).map_err(|e| at(e, dir))?;
        let path = dir.join(name);
        let fresh = dir.join(format!(".{name}.{}", std::process::id()));
        let bind = || {
            match std::fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let socket = UnixListener::bind(&fresh)?;
            std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o600))?;
            let inode = std::fs::metadata(&fresh)?.ino();
            std::fs::rename(&fresh, &path)?;
            // From here on a successor is noticed; one that came before it is, by the inode, at the first look.
            let inotify = Inotify::init()?;
            inotify.watches().add(dir, WatchMask::MOVED_TO | WatchMask::ONLYDIR)?;
            Ok((socket, inode, inotify.into_event_stream([0; 4096])?))
        };
        let (socket, inode, changes) = bind().map_err(|error| at(error, &path))?;
        Ok(Self { socket, path, allowed_uid, hosts, inode, changes })
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves callers until `stop`, or until another daemon has taken the socket's place; then those who have come by
    /// then, and waits for all answers that are under way.
    pub async fn serve(mut self, router: Router, stop: CancellationToken) -> Ended {
        let graceful = GracefulShutdown::new();
        let ended = loop {
            if self.is_superseded() {
                break Ended::Superseded;
            }
            tokio::select! {
                accepted = self.socket.accept() => {
                    admit(accepted.map(|(stream, _)| stream), self.allowed_uid, &self.hosts, &router, &graceful).await;
                }
                _ = self.changes.next() => {}
                () = stop.cancelled() => break Ended::Stopped,
            }
        };
        if ended == Ended::Stopped && !self.is_superseded() {
            // Whoever comes now waits for the next daemon, and does not fall into a queue that nobody serves.
            self.withdraw();
        }
        // Asked of the kernel and not of the runtime, which may not have heard yet of who has come.
        let Self { socket, allowed_uid, hosts, .. } = self;
        match socket.into_std() {
            Ok(socket) => {
                while let Ok((stream, _)) = socket.accept() {
                    let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
                    admit(stream, allowed_uid, &hosts, &router, &graceful).await;
                }
            }
            Err(error) => tracing::error!(%error, "callers that are waiting are turned away"),
        }
        graceful.shutdown().await;
        ended
    }

    /// Takes the socket off its path. It is moved before it is looked at and removed: one that another daemon has put
    /// there meanwhile is put back.
    fn withdraw(&self) {
        let aside = self.path.with_extension(format!("{}.old", std::process::id()));
        if std::fs::rename(&self.path, &aside).is_err() {
            return;
        }
        let is_ours = std::fs::metadata(&aside).is_ok_and(|there| there.ino() == self.inode);
        let _ = if is_ours { std::fs::remove_file(&aside) } else { std::fs::rename(&aside, &self.path) };
    }

    /// Whether the path leads to another daemon's socket.
    fn is_superseded(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|there| there.ino() != self.inode)
    }
}

/// The directory, which others will not be able to enter any more: so `/run` or `/tmp` will not do.
fn own_directory(dir: &Path) -> io::Result<PathBuf> {
    let dir = dir.canonicalize()?;
    if dir.ancestors().count() > 2 {
        return Ok(dir);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "the socket needs a directory of its own, as /run/plexus"))
}

async fn admit(
    accepted: io::Result<UnixStream>,
    allowed_uid: Option<u32>,
    hosts: &Hosts,
    router: &Router,
    graceful: &GracefulShutdown,
) {
    match accepted {
        Ok(stream) if is_allowed(&stream, allowed_uid) => {
            // Now, while the caller waits and cannot have gone.
            let caller = hosts.caller(stream.peer_cred().ok().and_then(|peer| peer.pid()));
            let service = router.clone().map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(caller.clone());
                request
            });
            let service = TowerToHyperService::new(service);
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

/// Root and the configured user may call; the directory's rights keep others out already.
fn is_allowed(stream: &UnixStream, allowed_uid: Option<u32>) -> bool {
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || Some(peer.uid()) == allowed_uid => true,
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
