//! The Unix socket. Only root and `allowedUid` may connect. A new daemon takes over by renaming its
//! socket into place.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use plexus_api::wire::SOCKET_NAME;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::accept::{pause_after, serve_request};
use super::connections::Connections;
use crate::dir_watcher::DirWatcher;
use crate::file_id::FileId;
use crate::host::Hosts;
use crate::problem::remedy_for_dir;

/// The time limit for a caller to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How often accepting may fail while the listen queue is emptied. There is a pause after each
/// failure, and calls that end meanwhile release file descriptors.
const MAX_FAILED_ACCEPTS: usize = 100;

/// The response to a caller that exceeds the number of connections. The shim retries.
pub(super) const TOO_MANY_CONNECTIONS: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
    allowed_uid: Option<u32>,
    hosts: Hosts,
    /// Distinguishes this socket from the socket of another daemon at the same path. The kernel
    /// does not reuse the inode while the socket is open.
    identity: FileId,
    changes: DirWatcher,
    limits: Connections,
}

/// The owner of the socket at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SocketOwner {
    ThisDaemon,
    OtherDaemon,
    Missing,
}

/// The reason why [`Listener::serve`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListenerExit {
    /// `stop` was cancelled.
    Stopped,
    /// Another daemon has replaced the socket with its own.
    Superseded,
}

impl Listener {
    /// Binds the socket `name` with mode 0600 in `dir`, which is created with mode 0700 if it is
    /// missing. An existing socket is replaced atomically, so that a caller reaches either the old
    /// daemon or the new one.
    ///
    /// # Errors
    /// I/O errors, with the path and the remedy.
    pub(crate) fn bind(
        dir: &Path,
        name: &str,
        allowed_uid: Option<u32>,
        hosts: Hosts,
    ) -> io::Result<Self> {
        let path = dir.join(name);
        let temporary = temporary_path(&path);
        let bind = || {
            create_private_directory(dir)?;
            remove_stale_sockets(dir, &prefix(name));
            match std::fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // The watch starts before the socket is visible, so that no replacement or removal is
            // missed.
            let mut changes = DirWatcher::new();
            changes.set(vec![dir.to_owned()]);
            let socket = UnixListener::bind(&temporary)?;
            std::fs::set_permissions(&temporary, PermissionsExt::from_mode(0o600))?;
            let identity = FileId::of(&temporary)?;
            std::fs::rename(&temporary, &path)?;
            Ok((socket, identity, changes))
        };
        let (socket, identity, changes) = bind().map_err(|error| describe(&path, &error))?;
        Ok(Self {
            socket,
            path,
            allowed_uid,
            hosts,
            identity,
            changes,
            limits: Connections::default(),
        })
    }

    /// Binds the socket again after another program has removed it. Serves the callers that
    /// connected before.
    async fn rebind(self, router: &Router, connections: &TaskTracker) -> io::Result<Self> {
        tracing::warn!(socket = %self.path.display(), "another program removed the socket; plexusd creates a new one");
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let bound = Self::bind(dir, &name, self.allowed_uid, self.hosts.clone());
        let limits = self.limits.clone();
        self.drain(router, connections).await;
        Ok(Self { limits, ..bound? })
    }

    /// Serves callers until `stop`, or until another daemon has replaced the socket. Then serves
    /// the callers that have connected by then, and waits for all responses. Always cancels `stop`
    /// before that, because some callers wait for `stop`.
    ///
    /// # Errors
    /// The socket was removed, and binding a new one fails.
    pub(crate) async fn serve(
        mut self,
        router: Router,
        stop: CancellationToken,
    ) -> io::Result<ListenerExit> {
        let (connections, cancel_stop) = (TaskTracker::new(), stop.clone().drop_guard());
        let ended = loop {
            match self.socket_owner() {
                SocketOwner::ThisDaemon => {}
                SocketOwner::OtherDaemon => break ListenerExit::Superseded,
                SocketOwner::Missing => self = self.rebind(&router, &connections).await?,
            }
            tokio::select! {
                accepted = self.socket.accept() => {
                    self.admitter(&router, &connections).admit(accepted.map(|(stream, _)| stream)).await;
                }
                _ = self.changes.changed() => {}
                () = stop.cancelled() => break ListenerExit::Stopped,
            }
        };
        if ended == ListenerExit::Stopped && self.socket_owner() == SocketOwner::ThisDaemon {
            // Later callers then wait for the next daemon, instead of connecting to a socket that
            // nobody accepts on.
            self.remove_socket();
        }
        drop(cancel_stop);
        self.drain(&router, &connections).await;
        connections.close();
        connections.wait().await;
        Ok(ended)
    }

    /// Serves all callers that have connected.
    async fn drain(self, router: &Router, connections: &TaskTracker) {
        let Self {
            socket,
            allowed_uid,
            hosts,
            limits,
            ..
        } = self;
        let admitter = Admitter {
            allowed_uid,
            hosts: &hosts,
            limits: &limits,
            router,
            connections,
        };
        // The listen queue may have callers that the async runtime has not been notified of yet.
        match socket.into_std() {
            Ok(socket) => {
                let mut failures = 0;
                while failures < MAX_FAILED_ACCEPTS {
                    let stream = match socket.accept() {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                        accepted => accepted.and_then(|(stream, _)| {
                            stream.set_nonblocking(true)?;
                            UnixStream::from_std(stream)
                        }),
                    };
                    failures += usize::from(stream.is_err());
                    admitter.admit(stream).await;
                }
            }
            Err(error) => tracing::error!(%error, "waiting callers are disconnected"),
        }
    }

    fn admitter<'a>(&'a self, router: &'a Router, connections: &'a TaskTracker) -> Admitter<'a> {
        Admitter {
            allowed_uid: self.allowed_uid,
            hosts: &self.hosts,
            limits: &self.limits,
            router,
            connections,
        }
    }

    /// Removes the socket from its path. The socket is renamed before it is identified and removed:
    /// the socket of another daemon that took the path in between is renamed back, unless that
    /// daemon has created another one.
    fn remove_socket(&self) {
        let temporary = temporary_path(&self.path);
        if std::fs::rename(&self.path, &temporary).is_err() {
            return;
        }
        let is_ours = FileId::of(&temporary).is_ok_and(|found| found == self.identity);
        if is_ours
            || renameat_with(CWD, &temporary, CWD, &self.path, RenameFlags::NOREPLACE).is_err()
        {
            let _ = std::fs::remove_file(&temporary);
        }
    }

    fn socket_owner(&self) -> SocketOwner {
        match FileId::of(&self.path) {
            Ok(found) if found != self.identity => SocketOwner::OtherDaemon,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                SocketOwner::Missing
            }
            // A failed `stat` does not prove that the socket was replaced.
            _ => SocketOwner::ThisDaemon,
        }
    }
}

/// The error of a socket that cannot be bound at `path`.
fn describe(path: &Path, error: &io::Error) -> io::Error {
    let is_ours = path.file_name().is_some_and(|name| name == SOCKET_NAME);
    let (key, example) = if is_ours {
        ("daemonSocketDir", "/run/plexus")
    } else {
        ("socketDir", "/run/multus")
    };
    let remedy = if error.kind() == io::ErrorKind::InvalidInput {
        format!("set {key} to a directory of its own, for example {example}")
    } else {
        remedy_for_dir(&format!("the directory ({key})"), error)
    };
    let path = path.display();
    let text = format!("cannot create the socket {path}: {error}; {remedy}");
    io::Error::new(error.kind(), text)
}

/// The path of this process' socket before the rename to its final path, and after the rename away
/// from there.
fn temporary_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{}{}", prefix(&name), std::process::id()))
}

fn prefix(name: &str) -> String {
    format!(".{name}.")
}

/// Removes temporary sockets of daemons that were killed while they bound or removed their socket.
/// A socket of a running process may be about to listen, and stays.
fn remove_stale_sockets(dir: &Path, prefix: &str) {
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
            // Best effort: a stale socket does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Creates `dir` if missing, and sets its mode to 0700. Refuses directories that other programs
/// share, such as `/run` and `/tmp`.
fn create_private_directory(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let dir = dir.canonicalize()?;
    if dir.ancestors().count() <= 2 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "other programs share the directory",
        ));
    }
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700))
}

/// Decides which callers are served, and serves them.
struct Admitter<'a> {
    allowed_uid: Option<u32>,
    hosts: &'a Hosts,
    limits: &'a Connections,
    router: &'a Router,
    connections: &'a TaskTracker,
}

impl Admitter<'_> {
    async fn admit(&self, accepted: io::Result<UnixStream>) {
        let stream = match accepted {
            Ok(stream) if is_allowed(&stream, self.allowed_uid) => stream,
            Ok(_) => return,
            Err(error) => return pause_after(&error, "socket").await,
        };
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
        let Some(open) = self.limits.open(pid) else {
            tracing::debug!(
                pid,
                "refused a caller, because too many connections are open"
            );
            // Best effort: an empty buffer has space for the response.
            let _ = stream.try_write(TOO_MANY_CONNECTIONS);
            return;
        };
        // Looked up now, while the caller waits, because its process may end after the call.
        let caller = self.hosts.caller(pid);
        let service = self
            .router
            .clone()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(caller.clone());
                request
            });
        self.connections.spawn(async move {
            let _open = open;
            serve_request(stream, service, HEAD_TIMEOUT).await;
        });
    }
}

/// Whether the caller is root or the configured user. The mode of the directory already excludes
/// other users.
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
            tracing::warn!(%error, "refused a caller without readable credentials");
            false
        }
    }
}

#[cfg(test)]
mod tests;
