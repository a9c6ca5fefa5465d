//! Waiting for a file to come or go.

use std::os::fd::AsFd as _;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use plexus_e2e::Node;

/// How long it may take, in milliseconds.
const PATIENCE: u16 = 20_000;

/// A directory that is watched from its making on.
pub struct Watch {
    inotify: Inotify,
    suffix: &'static str,
}

impl Watch {
    /// Watches for files of `dir`, on the node, that are renamed to a name with this end.
    pub fn arrival(node: &Node, dir: &Path, suffix: &'static str) -> Self {
        Self::new(node, dir, suffix, AddWatchFlags::IN_MOVED_TO)
    }

    /// Watches for files of `dir`, on the node, with this end that are removed.
    pub fn removal(node: &Node, dir: &Path, suffix: &'static str) -> Self {
        Self::new(node, dir, suffix, AddWatchFlags::IN_DELETE)
    }

    fn new(node: &Node, dir: &Path, suffix: &'static str, flags: AddWatchFlags) -> Self {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC).expect("inotify works");
        node.run(|| inotify.add_watch(dir, flags)).expect("the directory can be watched");
        Self { inotify, suffix }
    }

    /// Waits until it has happened.
    #[track_caller]
    pub fn wait(&self) {
        loop {
            let mut fds = [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut fds, PollTimeout::from(PATIENCE)).expect("poll works");
            assert!(ready > 0, "nothing happened to a file *{}", self.suffix);
            let events = self.inotify.read_events().expect("events can be read");
            if events
                .iter()
                .any(|event| event.name.as_ref().is_some_and(|name| name.to_string_lossy().ends_with(self.suffix)))
            {
                return;
            }
        }
    }
}
