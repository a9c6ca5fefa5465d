//! Errors of a sandbox's network namespace.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use plexus_api::shorten;

use super::Family;

#[derive(Debug, thiserror::Error)]
pub(crate) enum NetnsError {
    #[error("CNI_NETNS {} is not a network namespace", shorten(&.0.to_string_lossy()))]
    NotANetns(PathBuf),
    #[error("CNI_NETNS {} cannot be opened: {error}", shorten(&path.to_string_lossy()))]
    Open { path: PathBuf, error: io::Error },
    /// The path may be valid, but the process or the node is out of files, threads or memory.
    #[error("CNI_NETNS {} cannot be opened now: {error}", path.display())]
    OutOfResources { path: PathBuf, error: io::Error },
    #[error("CNI_NETNS {} cannot be entered: {error}; plexusd needs CAP_SYS_ADMIN on the node", path.display())]
    NotPermitted { path: PathBuf, error: io::Error },
    #[error("CNI_NETNS {}: {action} failed: {}", path.display(), reason(error))]
    Netlink {
        path: PathBuf,
        action: String,
        error: rtnetlink::Error,
    },
    #[error("cannot move the {family} default route to {link}: {problem}")]
    MoveDefaultRoute {
        family: Family,
        link: String,
        problem: RouteProblem,
    },
}

/// The cause of a failure to move a default route.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteProblem {
    #[error("the sandbox has no such link")]
    NoSuchLink,
    #[error("gateway {0} is an address of the other family")]
    WrongFamily(IpAddr),
    #[error(
        "gateway {gateway} is in no subnet of the link, or the link is down ({})",
        reason(error)
    )]
    Unreachable {
        gateway: IpAddr,
        error: rtnetlink::Error,
    },
    #[error("the route via {gateway} cannot be added: {}", reason(error))]
    Add {
        gateway: IpAddr,
        error: rtnetlink::Error,
    },
    #[error("the old route {route} cannot be removed: {}", reason(error))]
    Remove {
        route: String,
        error: rtnetlink::Error,
    },
    #[error("other default routes cannot be removed, or another program keeps adding them")]
    OthersRemain,
}

impl NetnsError {
    /// Whether there is no namespace at the path.
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            // The file that a runtime leaves behind when it has unmounted the namespace.
            Self::NotANetns(_) => true,
            Self::Open { error, .. } => error.kind() == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// An error of opening or entering the namespace at `path`.
    pub(super) fn open(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM) => Self::NotPermitted { path, error },
            Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN) => {
                Self::OutOfResources { path, error }
            }
            Some(Errno::EINVAL) => Self::NotANetns(path),
            _ => Self::Open { path, error },
        }
    }
}

/// The kernel's error number, if the kernel answered with an error.
pub(super) fn errno(error: &rtnetlink::Error) -> Option<Errno> {
    let rtnetlink::Error::NetlinkError(message) = error else {
        return None;
    };
    Some(Errno::from_raw(message.raw_code().abs()))
}

/// The kernel's error text, without the text that the library adds.
fn reason(error: &rtnetlink::Error) -> String {
    errno(error).map_or_else(|| error.to_string(), |errno| errno.desc().to_owned())
}
