//! The socket: made with rights for root alone, and handed over to the next daemon by renaming.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use futures_util::StreamExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use inotify::{EventStream, Inotify, WatchMask};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::dir_watcher::with_limit;
use crate::file_id::FileId;
use crate::host::Hosts;

/// A caller sends the head of its request within this time, or is cut off.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    allowed_uid: Option<u32>,
    hosts: Hosts,
    /// What tells this socket from one that another daemon puts in its place: device and inode. The kernel does not
    /// give them again while the socket is open.
    identity: FileId,
    changes: EventStream<Vec<u8>>,
}

/// What is at the socket's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ours,
    AnotherDaemons,
    Nothing,
}

/// Why [`Listener::serve`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
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
    pub(crate) fn bind(
        dir: &Path,
        name: &str,
        allowed_uid: Option<u32>,
        hosts: Hosts,
    ) -> io::Result<Self> {
        let at = |error: io::Error, path: &Path| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        let close =
            || std::fs::set_permissions(own_directory(dir)?, PermissionsExt::from_mode(0o700));
        made.and_then(|()| close()).map_err(|e| at(e, dir))?;
        let path = dir.join(name);
        let fresh = temporary(&path);
        let bind = || {
            sweep(dir, &prefix(name));
            match std::fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // From here on it is noticed when another comes or this one goes. Without that, the socket of a daemon that
            // runs is not taken from it.
            let inotify = Inotify::init().map_err(with_limit)?;
            let gone = WatchMask::DELETE
                | WatchMask::MOVED_FROM
                | WatchMask::DELETE_SELF
                | WatchMask::MOVE_SELF;
            inotify
                .watches()
                .add(dir, WatchMask::MOVED_TO | gone | WatchMask::ONLYDIR)
                .map_err(with_limit)?;
            let changes = inotify.into_event_stream(vec![0; 4096])?;
            let socket = UnixListener::bind(&fresh)?;
            std::fs::set_permissions(&fresh, PermissionsExt::from_mode(0o600))?;
            let identity = FileId::of(&fresh)?;
            std::fs::rename(&fresh, &path)?;
            Ok((socket, identity, changes))
        };
        let (socket, identity, changes) = bind().map_err(|error| at(error, &path))?;
        Ok(Self {
            socket,
            path,
            allowed_uid,
            hosts,
            identity,
            changes,
        })
    }

    /// Binds it again, where it has been taken off its path. Who has come to it already is served.
    async fn again(self, router: &Router, connections: &TaskTracker) -> io::Result<Self> {
        tracing::warn!(socket = %self.path.display(), "the socket was removed by another program; it is made again");
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let bound = Self::bind(dir, &name, self.allowed_uid, self.hosts.clone());
        self.drain(router, connections).await;
        bound
    }

    /// Serves callers until `stop`, or until another daemon has taken the socket's place; then those who have come by
    /// then, and waits for all answers that are under way. In every case `stop` is cancelled before that: who waits for
    /// it must have an answer, too.
    ///
    /// # Errors
    /// The socket was taken off its path, and cannot be made again.
    pub(crate) async fn serve(
        mut self,
        router: Router,
        stop: CancellationToken,
    ) -> io::Result<Ended> {
        let (connections, told) = (TaskTracker::new(), stop.clone().drop_guard());
        let ended = loop {
            match self.place() {
                Place::Ours => {}
                Place::AnotherDaemons => break Ended::Superseded,
                Place::Nothing => self = self.again(&router, &connections).await?,
            }
            tokio::select! {
                accepted = self.socket.accept() => {
                    admit(accepted.map(|(stream, _)| stream), self.allowed_uid, &self.hosts, &router, &connections).await;
                }
                _ = self.changes.next() => {}
                () = stop.cancelled() => break Ended::Stopped,
            }
        };
        if ended == Ended::Stopped && self.place() == Place::Ours {
            // Whoever comes now waits for the next daemon, and does not fall into a queue that nobody serves.
            self.withdraw();
        }
        drop(told);
        self.drain(&router, &connections).await;
        connections.close();
        connections.wait().await;
        Ok(ended)
    }

    /// Admits all who have come.
    async fn drain(self, router: &Router, connections: &TaskTracker) {
        // Asked of the kernel and not of the runtime, which may not have heard yet of who has come.
        let Self {
            socket,
            allowed_uid,
            hosts,
            ..
        } = self;
        match socket.into_std() {
            Ok(socket) => {
                while let Ok((stream, _)) = socket.accept() {
                    let stream = stream
                        .set_nonblocking(true)
                        .and_then(|()| UnixStream::from_std(stream));
                    admit(stream, allowed_uid, &hosts, router, connections).await;
                }
            }
            Err(error) => tracing::error!(%error, "callers that are waiting are turned away"),
        }
    }

    /// Takes the socket off its path. It is moved before it is looked at and removed: one that another daemon has put
    /// there meanwhile is put back, unless that one has noticed and made another.
    fn withdraw(&self) {
        let aside = temporary(&self.path);
        if std::fs::rename(&self.path, &aside).is_err() {
            return;
        }
        let is_ours = FileId::of(&aside).is_ok_and(|there| there == self.identity);
        if is_ours || renameat_with(CWD, &aside, CWD, &self.path, RenameFlags::NOREPLACE).is_err() {
            let _ = std::fs::remove_file(&aside);
        }
    }

    fn place(&self) -> Place {
        match FileId::of(&self.path) {
            Ok(there) if there != self.identity => Place::AnotherDaemons,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Place::Nothing
            }
            // What cannot be looked at is not known to have changed.
            _ => Place::Ours,
        }
    }
}

/// Where this process has the socket while it is not at its path.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{}{}", prefix(&name), std::process::id()))
}

fn prefix(name: &str) -> String {
    format!(".{name}.")
}

/// Removes what daemons have left that were killed while they put their socket in place or took it away: nobody listens
/// there, nor is about to, as a process that runs may be.
fn sweep(dir: &Path, prefix: &str) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.strip_prefix(prefix))
            .filter(|_| is_socket)
        else {
            continue;
        };
        if pid.bytes().all(|byte| byte.is_ascii_digit()) && Path::new("/proc").join(pid).exists() {
            continue;
        }
        let refused = std::os::unix::net::UnixStream::connect(entry.path());
        if refused.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            // One that stays does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The directory, which others will not be able to enter any more: so `/run` or `/tmp` will not do.
fn own_directory(dir: &Path) -> io::Result<PathBuf> {
    let dir = dir.canonicalize()?;
    if dir.ancestors().count() > 2 {
        return Ok(dir);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "the socket needs a directory of its own, as /run/plexus",
    ))
}

async fn admit(
    accepted: io::Result<UnixStream>,
    allowed_uid: Option<u32>,
    hosts: &Hosts,
    router: &Router,
    connections: &TaskTracker,
) {
    match accepted {
        Ok(stream) if is_allowed(&stream, allowed_uid) => {
            // Now, while the caller waits and cannot have gone.
            let caller = hosts.caller(stream.peer_cred().ok().and_then(|peer| peer.pid()));
            let service = router
                .clone()
                .map_request(move |mut request: Request<Incoming>| {
                    request.extensions_mut().insert(caller.clone());
                    request
                });
            let service = TowerToHyperService::new(service);
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                // One call each, and none is closed before it was read, however late that is.
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move {
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
            tracing::warn!(
                uid = peer.uid(),
                pid = peer.pid(),
                "refused a caller that is not root"
            );
            false
        }
        Err(error) => {
            tracing::warn!(%error, "refused a caller of unknown identity");
            false
        }
    }
}
