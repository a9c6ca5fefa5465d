//! Waits for changes on a node by kernel notifications, without polling.

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
const TIMEOUT: Duration = Duration::from_mins(1);

/// A watch on the links of a node and on directories.
#[derive(Debug)]
pub struct NodeWatch {
    links: OwnedFd,
    files: Inotify,
}

impl NodeWatch {
    /// Starts watching. Directories that do not exist are skipped.
    pub fn new<P: AsRef<Path> + Sync>(node: &Node, dirs: &[P]) -> Self {
        node.run(|| {
            let links = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
                SockProtocol::NetlinkRoute,
            )
            .expect("netlink socket");
            bind(links.as_raw_fd(), &NetlinkAddr::new(0, LINK_CHANGES)).expect("netlink bind");
            let files =
                Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("inotify");
            let events = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVE
                | AddWatchFlags::IN_CLOSE_WRITE;
            for dir in dirs.iter().map(AsRef::as_ref) {
                match files.add_watch(dir, events) {
                    Ok(_) | Err(Errno::ENOENT) => {}
                    Err(error) => panic!("{}: {error}", dir.display()),
                }
            }
            Self { links, files }
        })
    }

    /// Waits until `problem` returns `None`. `problem` is called again after each change. Panics
    /// with the last problem after a timeout.
    pub fn wait_while<P: std::fmt::Debug>(&self, mut problem: impl FnMut() -> Option<P>) {
        let end = Instant::now() + TIMEOUT;
        while let Some(found) = problem() {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still after {TIMEOUT:?}: {found:?}");
            let timeout = PollTimeout::try_from(left).expect("timeout fits");
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
        // An overrun is a change as well.
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
