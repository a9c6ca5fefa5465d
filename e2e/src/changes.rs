//! Waiting for something to come about on a node, told by the kernel and not by the clock.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};

use crate::Node;

/// The multicast group of link changes: `RTMGRP_LINK`.
const LINK_CHANGES: u32 = 1;
/// How long a change may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watch over the links of a node and over directories.
#[derive(Debug)]
pub struct Changes {
    links: OwnedFd,
    files: Inotify,
}

impl Changes {
    /// Watches from now on. A directory that is not there is passed over.
    pub fn watch(node: &Node, dirs: &[&Path]) -> Self {
        node.run(|| {
            let kind = (
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            );
            let links = socket(kind.0, kind.1, kind.2, SockProtocol::NetlinkRoute)
                .expect("a netlink socket");
            bind(links.as_raw_fd(), &NetlinkAddr::new(0, LINK_CHANGES))
                .expect("link changes can be followed");
            let files =
                Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("inotify");
            let events = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVE
                | AddWatchFlags::IN_CLOSE_WRITE;
            for dir in dirs {
                match files.add_watch(*dir, events) {
                    Ok(_) | Err(Errno::ENOENT) => {}
                    Err(error) => panic!("{}: {error}", dir.display()),
                }
            }
            Self { links, files }
        })
    }

    /// Waits until `problem` finds none any more, looking again at each change. Panics with the last one if that takes
    /// too long.
    pub fn until_none<P: std::fmt::Debug>(&self, mut problem: impl FnMut() -> Option<P>) {
        let end = Instant::now() + PATIENCE;
        while let Some(found) = problem() {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still after {PATIENCE:?}: {found:?}");
            let timeout = PollTimeout::try_from(left).expect("it is short");
            let mut fds = [
                PollFd::new(self.links.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.files.as_fd(), PollFlags::POLLIN),
            ];
            poll(&mut fds, timeout).expect("poll");
            self.drain();
        }
    }

    fn drain(&self) {
        let mut buffer = vec![0; 32 << 10];
        // An overrun says that something has changed, too.
        while matches!(
            recv(self.links.as_raw_fd(), &mut buffer, MsgFlags::empty()),
            Ok(1..) | Err(Errno::ENOBUFS)
        ) {}
        while self
            .files
            .read_events()
            .is_ok_and(|events| !events.is_empty())
        {}
    }
}
