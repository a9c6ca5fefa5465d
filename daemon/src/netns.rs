//! Manages links and default routes in the network namespace of a sandbox by netlink.
//!
//! A netlink socket belongs to the network namespace in which it was created. A short-lived thread
//! enters the namespace and creates the socket, so that the runtime's threads stay in the daemon's.

mod error;
mod gateway_routes;
mod routes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread;

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use rtnetlink::Handle;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::proto::Connection;
use rtnetlink::sys::{AsyncSocket as _, TokioSocket, protocols::NETLINK_ROUTE};
use tokio::sync::oneshot;

use crate::file_id::FileId;
use crate::host::Host;
use crate::model::NetnsId;

pub(crate) use error::NetnsError;
use error::{RouteProblem, errno};
pub(crate) use routes::Family;

/// An open network namespace. The kernel keeps the namespace for as long as this value exists and
/// no longer: callers poll the connection themselves, so no task has to end first.
pub(crate) struct Netns {
    path: PathBuf,
    id: NetnsId,
    handle: Handle,
    connection: Connection<RouteNetlinkMessage, TokioSocket>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// The hardware address, such as `02:00:00:00:00:01`; empty if the link has none.
    pub(crate) mac: String,
    /// Whether the link is administratively up, with or without carrier.
    pub(crate) up: bool,
}

impl Netns {
    /// Opens the namespace at `path`, the value of `CNI_NETNS`, as `host` sees the path (P-011).
    pub(crate) async fn open(path: &Path, host: &Host) -> Result<Self, NetnsError> {
        let owned = path.to_owned();
        let file = host.run(move || open(&owned)).await;
        Self::of_file(path, file.flatten()).await
    }

    /// Opens the namespace of this process, which is that of the node.
    pub(crate) async fn own() -> Result<Self, NetnsError> {
        let path = Path::new("/proc/self/ns/net");
        Self::of_file(path, File::open(path)).await
    }

    async fn of_file(path: &Path, file: io::Result<File>) -> Result<Self, NetnsError> {
        let entered = async { Self::enter(file?).await }.await;
        let (id, socket) = entered.map_err(|error| NetnsError::open(path, error))?;
        let (connection, handle, _) = rtnetlink::from_socket(socket);
        Ok(Self {
            path: path.to_owned(),
            id,
            handle,
            connection,
        })
    }

    /// Creates a netlink socket in the namespace.
    async fn enter(file: File) -> io::Result<(NetnsId, TokioSocket)> {
        let runtime = tokio::runtime::Handle::current();
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn(move || {
                let _runtime = runtime.enter();
                let entered =
                    enter(&file).and_then(|id| Ok((id, TokioSocket::new(NETLINK_ROUTE)?)));
                drop(file);
                // If the caller has stopped waiting, the socket is closed here.
                let _ = sender.send(entered);
            })?;
        receiver
            .await
            .unwrap_or_else(|_| Err(io::Error::other("the thread that enters it panicked")))
    }

    pub(crate) fn id(&self) -> NetnsId {
        self.id
    }

    /// Lists all links.
    pub(crate) async fn links(&mut self) -> Result<Vec<Link>, NetnsError> {
        let request = self
            .handle
            .link()
            .get()
            .set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
        self.request(request.execute().map_ok(Link::from).try_collect())
            .await
            .map_err(|error| self.netlink_error("listing links", error))
    }

    /// The names of all links.
    pub(crate) async fn names(&mut self) -> Result<BTreeSet<String>, NetnsError> {
        Ok(self
            .links()
            .await?
            .into_iter()
            .map(|link| link.name)
            .collect())
    }

    /// Whether a link has this name or alternative name. The kernel refuses to create another link
    /// with either.
    pub(crate) async fn has_link(&mut self, name: &str) -> Result<bool, NetnsError> {
        let request = self.handle.link().get().match_name(name);
        match self
            .request(request.execute().try_collect::<Vec<_>>())
            .await
        {
            Ok(links) => Ok(!links.is_empty()),
            Err(error) if errno(&error) == Some(Errno::ENODEV) => Ok(false),
            Err(error) => Err(self.netlink_error(format!("looking up link {name:?}"), error)),
        }
    }

    /// Polls the connection until `response` is complete.
    async fn request<T>(
        &mut self,
        response: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, rtnetlink::Error> {
        tokio::select! {
            response = response => response,
            () = &mut self.connection => Err(rtnetlink::Error::RequestFailed),
        }
    }

    fn netlink_error(&self, action: impl Into<String>, error: rtnetlink::Error) -> NetnsError {
        NetnsError::Netlink {
            path: self.path.clone(),
            action: action.into(),
            error,
        }
    }
}

/// The ID of the network namespace at `path`. Moves the calling thread into the namespace for good,
/// so callers need a thread of their own.
pub(crate) fn identify(path: &Path) -> io::Result<NetnsId> {
    enter(&open(path)?)
}

/// Opens `path` without blocking, even if it is a FIFO or a terminal.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)
}

/// Moves the calling thread into the network namespace.
fn enter(file: &File) -> io::Result<NetnsId> {
    let FileId { dev, ino } = FileId::from(&file.metadata()?);
    setns(file, CloneFlags::CLONE_NEWNET)?;
    // Every socket has the cookie of the namespace in which it was created.
    let cookie = getsockopt(&UnixDatagram::unbound()?, NetnsCookie).ok();
    Ok(NetnsId { dev, ino, cookie })
}

sockopt_impl!(
    /// The cookie of a network namespace, which the kernel does not reuse until the next boot.
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let (mut name, mut mac) = (String::new(), String::new());
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(value) => name = value,
                LinkAttribute::Address(bytes) => {
                    mac = bytes
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect::<Vec<_>>()
                        .join(":");
                }
                _ => {}
            }
        }
        Self {
            index: message.header.index,
            name,
            mac,
            up: message.header.flags.contains(LinkFlags::Up),
        }
    }
}
