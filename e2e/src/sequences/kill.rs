//! What is killed during a call, and when.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::random::Random;
use crate::leftovers::LEDGER;
use crate::{Gate, Held, Node, Script};

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// plexusd, which is restarted during the call.
    Daemon,
    /// plexusd, which is restarted after the call.
    DaemonUntilCallEnds,
    Shim,
    /// Both. plexusd is restarted after the call.
    DaemonAndShim,
    /// A new plexusd while it takes over from the running one.
    Successor,
    /// The running plexusd while a new one takes over.
    Predecessor,
}

impl Kill {
    /// A random kill, mostly of plexusd alone.
    pub fn choose(random: &mut Random) -> Self {
        use Kill::{Daemon, DaemonAndShim, DaemonUntilCallEnds, Predecessor, Shim, Successor};
        random.pick(&[
            Daemon,
            Daemon,
            Daemon,
            Daemon,
            DaemonUntilCallEnds,
            DaemonUntilCallEnds,
            DaemonUntilCallEnds,
            Shim,
            DaemonAndShim,
            Successor,
            Predecessor,
        ])
    }

    /// Whether plexusd is not running at the end of the call.
    pub fn leaves_daemon_stopped(self) -> bool {
        matches!(self, Self::DaemonUntilCallEnds | Self::DaemonAndShim)
    }
}

/// The point of a call at which something is killed.
#[derive(Debug)]
pub enum KillPoint {
    /// A time after the start of the call.
    Time(Duration),
    /// A number of changes of the ledger.
    LedgerChanges(u64, Inotify),
    /// While this plugin is running.
    Plugin(String, Gate),
}

impl KillPoint {
    /// A random point in an `operation` on `networks` that usually takes `usual`. Must be chosen
    /// before the call starts.
    pub fn choose(
        random: &mut Random,
        node: &Node,
        operation: &str,
        networks: &[&str],
        usual: Duration,
    ) -> Self {
        match random.below(10) {
            0..5 => {
                let usual = u64::try_from(usual.as_micros()).unwrap_or(u64::MAX).max(1);
                Self::Time(Duration::from_micros(random.below(usual + usual / 5)))
            }
            // A call writes at most a plan, two lines for each network, and two lines at the end.
            5..8 => {
                let count = 1 + random.below(3 + 2 * networks.len() as u64);
                Self::LedgerChanges(count, watch_ledger(node))
            }
            _ => {
                let plugin = format!(
                    "{}-{}",
                    random.pick(networks),
                    random.pick(&["before", "after"])
                );
                let gate = node.gate(&format!("gate{}", random.below(u64::MAX)));
                node.plugin(&plugin, &Script::new().on(operation, [gate.step()]));
                Self::Plugin(plugin, gate)
            }
        }
    }

    /// Waits for this point.
    pub fn wait(&self, usual: Duration) -> Option<Held> {
        match self {
            // The time is a parameter of the test, not synchronisation.
            Self::Time(delay) => thread::sleep(*delay),
            Self::LedgerChanges(count, watch) => {
                wait_changes(watch, *count, 2 * usual + Duration::from_millis(100));
            }
            Self::Plugin(_, gate) => return Some(gate.wait()),
        }
        None
    }

    /// Makes later calls pass this point without stopping.
    pub fn disarm(&self, node: &Node) {
        if let Self::Plugin(plugin, _) = self {
            node.plugin(plugin, &Script::new());
        }
    }
}

fn watch_ledger(node: &Node) -> Inotify {
    node.run(|| {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("inotify");
        let changes =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE;
        watch
            .add_watch(Path::new(LEDGER), changes)
            .expect("watch the ledger");
        watch
    })
}

/// Waits for `count` changes, or until `timeout`.
fn wait_changes(watch: &Inotify, count: u64, timeout: Duration) {
    let end = Instant::now() + timeout;
    let mut seen = 0;
    while seen < count {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::try_from(left).expect("timeout fits")).expect("poll");
        seen += watch.read_events().map_or(0, |events| events.len() as u64);
    }
}
