//! What happens in the middle of a call, and when.

use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::random::Random;
use crate::left::LEDGER;
use crate::{Gate, Held, Node, Script};

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// plexusd is killed, and started again while the runtime still cleans up.
    Daemon,
    /// plexusd is killed, and started when the runtime has given up.
    DaemonForLong,
    /// The shim is killed.
    Shim,
    /// Both are, and plexusd is started when the runtime has given up.
    Both,
    /// Another plexusd takes over, and is killed at that.
    Successor,
    /// Another plexusd takes over, and the one before it is killed at that.
    Predecessor,
}

impl Blow {
    /// One of them: mostly plexusd alone.
    pub fn choose(random: &mut Random) -> Self {
        use Blow::{Both, Daemon, DaemonForLong, Predecessor, Shim, Successor};
        random.pick(&[
            Daemon,
            Daemon,
            Daemon,
            Daemon,
            DaemonForLong,
            DaemonForLong,
            DaemonForLong,
            Shim,
            Both,
            Successor,
            Predecessor,
        ])
    }

    /// Whether plexusd stays down until the runtime has given up.
    pub fn lasts(self) -> bool {
        matches!(self, Self::DaemonForLong | Self::Both)
    }
}

/// When it happens.
#[derive(Debug)]
pub enum When {
    /// So long after the call began.
    After(Duration),
    /// When the ledger has changed so many times since.
    Lines(u64, Inotify),
    /// When this plugin is at work.
    Inside(String, Gate),
}

impl When {
    /// An instant of a call `verb` to `networks` that usually takes `usual`. To be chosen before the call begins.
    pub fn choose(
        random: &mut Random,
        node: &Node,
        verb: &str,
        networks: &[&str],
        usual: Duration,
    ) -> Self {
        match random.below(10) {
            0..5 => {
                let usual = u64::try_from(usual.as_micros()).unwrap_or(u64::MAX).max(1);
                Self::After(Duration::from_micros(random.below(usual + usual / 5)))
            }
            // The most lines that a call writes: plan, two for each network, two at the end.
            5..8 => Self::Lines(1 + random.below(3 + 2 * networks.len() as u64), watch(node)),
            _ => {
                let plugin = format!(
                    "{}-{}",
                    random.pick(networks),
                    random.pick(&["before", "after"])
                );
                let gate = node.gate(&format!("gate{}", random.below(u64::MAX)));
                node.plugin(&plugin, &Script::new().on(verb, [gate.step()]));
                Self::Inside(plugin, gate)
            }
        }
    }

    /// Waits for it.
    pub fn wait(&self, usual: Duration) -> Option<Held> {
        match self {
            // The instant is what the test is about; nothing waits for it.
            Self::After(delay) => thread::sleep(*delay),
            Self::Lines(count, watch) => {
                wait_lines(watch, *count, 2 * usual + Duration::from_millis(100));
            }
            Self::Inside(_, gate) => return Some(gate.wait()),
        }
        None
    }

    /// Lets all that come later through.
    pub fn disarm(&self, node: &Node) {
        if let Self::Inside(plugin, _) = self {
            node.plugin(plugin, &Script::new());
        }
    }
}

fn watch(node: &Node) -> Inotify {
    node.run(|| {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("inotify");
        let changes =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DELETE;
        watch
            .add_watch(Path::new(LEDGER), changes)
            .expect("the ledger can be watched");
        watch
    })
}

/// Until so many changes, or until the call must be over.
fn wait_lines(watch: &Inotify, count: u64, patience: Duration) {
    let end = Instant::now() + patience;
    let mut seen = 0;
    while seen < count {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let timeout = PollTimeout::try_from(left).expect("it is short");
        poll(
            &mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)],
            timeout,
        )
        .expect("poll");
        seen += watch.read_events().map_or(0, |events| events.len() as u64);
    }
}
