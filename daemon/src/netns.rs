//! The network namespace of a sandbox: its links and its default routes, by netlink.
//!
//! A netlink socket stays in the namespace in which it was made. It is made by a thread that lives just for that and
//! enters the namespace, so that no thread of the runtime ever changes its own.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::thread;

use futures_util::TryStreamExt as _;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use plexus_api::cni::{CniError, Code};
use rtnetlink::Handle;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::proto::Connection;
use rtnetlink::sys::{AsyncSocket as _, TokioSocket, protocols::NETLINK_ROUTE};
use tokio::sync::oneshot;

use crate::file_id::FileId;
use crate::host::Host;
use crate::model::NetnsId;

mod routes;

pub(crate) use routes::Family;

/// An open network namespace. The kernel keeps the namespace for as long as this lives, and not one moment longer
/// the socket is driven by whoever calls, not by a task that would have to end first.
pub(crate) struct Netns {
    path: String,
    id: NetnsId,
    handle: Handle,
    connection: Connection<RouteNetlinkMessage, TokioSocket>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its index.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its hardware address, as `02:00:00:00:00:01`; empty where it has none.
    pub(crate) mac: String,
    /// Whether it is set up; it need not have a carrier.
    pub(crate) up: bool,
}

impl Netns {
    /// Opens the namespace at `path`, the value of `CNI_NETNS`, as `host` sees it.
    ///
    /// # Errors
    /// [`Code::InvalidEnvironment`] where it is not a network namespace that can be opened (P-011); [`Code::Io`] where
    /// the daemon lacks a right or a resource.
    pub(crate) async fn open(path: &Path, host: &Host) -> Result<Self, CniError> {
        let failed = |error: io::Error| {
            let what = format!("CNI_NETNS {}", path.display());
            match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EPERM) => CniError::new(
                    Code::Io,
                    format!(
                        "{what} cannot be entered: {error}; the daemon needs CAP_SYS_ADMIN on the node"
                    ),
                ),
                Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN) => {
                    CniError::new(Code::Io, format!("{what} cannot be opened now: {error}"))
                }
                Some(Errno::EINVAL) => CniError::new(
                    Code::InvalidEnvironment,
                    format!("{what} is not a network namespace"),
                ),
                _ => CniError::new(
                    Code::InvalidEnvironment,
                    format!("{what} cannot be opened: {error}"),
                ),
            }
        };
        let (sender, receiver) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let owned = path.to_owned();
        let file = host
            .look(move || open(&owned))
            .await
            .and_then(|opened| opened)
            .map_err(failed)?;
        let in_namespace = move || {
            let _runtime = runtime.enter();
            let entered = enter(&file);
            drop(file);
            // If nobody waits any more, the socket is closed here.
            let _ = sender.send(entered);
        };
        thread::Builder::new()
            .name("netns".into())
            .spawn(in_namespace)
            .map_err(failed)?;
        let entered = receiver
            .await
            .unwrap_or_else(|_| Err(io::Error::other("its thread panicked")));
        let (id, socket) = entered.map_err(failed)?;
        let (connection, handle, _) = rtnetlink::from_socket(socket);
        Ok(Self {
            path: path.display().to_string(),
            id,
            handle,
            connection,
        })
    }

    /// What identifies the namespace while it exists.
    pub(crate) fn id(&self) -> NetnsId {
        self.id
    }

    /// All links.
    ///
    /// # Errors
    /// [`Code::Io`] with the kernel's reason.
    pub(crate) async fn links(&mut self) -> Result<Vec<Link>, CniError> {
        let request = self
            .handle
            .link()
            .get()
            .set_filter_mask(AddressFamily::Unspec, vec![LinkExtentMask::SkipStats]);
        let messages = self
            .request(request.execute().try_collect::<Vec<_>>())
            .await;
        let messages = messages.map_err(|error| self.failed("links cannot be listed", &error))?;
        Ok(messages.into_iter().map(Link::from).collect())
    }

    /// Whether there is a link of that name, or with that alternative name: both make it impossible to create one.
    ///
    /// # Errors
    /// [`Code::Io`] with the kernel's reason.
    pub(crate) async fn has_link(&mut self, name: &str) -> Result<bool, CniError> {
        let request = self.handle.link().get().match_name(name);
        match self
            .request(request.execute().try_collect::<Vec<_>>())
            .await
        {
            Ok(links) => Ok(!links.is_empty()),
            Err(error) if errno(&error) == Some(Errno::ENODEV) => Ok(false),
            Err(error) => Err(self.failed(&format!("link {name:?} cannot be looked up"), &error)),
        }
    }

    /// Drives the socket until `answer` is there.
    async fn request<T>(
        &mut self,
        answer: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, rtnetlink::Error> {
        tokio::select! {
            answer = answer => answer,
            () = &mut self.connection => Err(rtnetlink::Error::RequestFailed),
        }
    }

    fn failed(&self, what: &str, error: &rtnetlink::Error) -> CniError {
        CniError::new(
            Code::Io,
            format!("CNI_NETNS {}: {what}: {}", self.path, reason(error)),
        )
    }
}

/// Enters the namespace for good and makes a socket there.
fn enter(file: &File) -> io::Result<(NetnsId, TokioSocket)> {
    Ok((identify_file(file)?, TokioSocket::new(NETLINK_ROUTE)?))
}

/// Which namespace a path leads to. The calling thread enters it for good; the file is closed again.
///
/// # Errors
/// As opening and entering it fail.
pub(crate) fn identify(path: &Path) -> io::Result<NetnsId> {
    identify_file(&open(path)?)
}

/// Opening anything else than a namespace does not block.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)
}

fn identify_file(file: &File) -> io::Result<NetnsId> {
    let FileId { dev, ino } = FileId::from(&file.metadata()?);
    setns(file, CloneFlags::CLONE_NEWNET)?;
    // Any socket knows where it was made.
    let cookie = getsockopt(&UnixDatagram::unbound()?, NetnsCookie).ok();
    Ok(NetnsId { dev, ino, cookie })
}

sockopt_impl!(
    /// The number that the kernel gives to a namespace and to no other until the next boot.
    NetnsCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

/// The kernel's error number, where the kernel answered with one.
fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    let rtnetlink::Error::NetlinkError(message) = error else {
        return None;
    };
    Some(Errno::from_raw(message.raw_code().abs()))
}

/// The kernel's reason, without the library's words around it.
fn reason(error: &rtnetlink::Error) -> String {
    errno(error).map_or_else(|| error.to_string(), |errno| errno.desc().to_owned())
}

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

#[cfg(test)]
mod tests;
