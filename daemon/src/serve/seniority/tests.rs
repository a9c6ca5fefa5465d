//! A model of the daemons on one node, which explores every order of roll-out, uninstall,
//! roll-back, restart and SIGKILL. The model decides with the functions that the daemon uses.

use std::collections::HashSet;

use super::Seniority;
use crate::serve::mode::{InstallAction, Mode};

/// A pod of the DaemonSet: its subcommand and the generation of its DaemonSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Pod {
    mode: Mode,
    generation: u64,
}

/// The pod that serves at first, the pod of the uninstall, and the pod of a later installation.
const PODS: [Pod; 3] = [
    Pod {
        mode: Mode::Install,
        generation: 1,
    },
    Pod {
        mode: Mode::Uninstall,
        generation: 2,
    },
    Pod {
        mode: Mode::Install,
        generation: 3,
    },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Daemon {
    /// Not running: the pod does not exist yet, or its process has ended.
    Ended,
    Waiting(Seniority),
    /// The owner of socket and ledger, and the number of lines of its action that are done.
    Owner(Seniority, InstallAction, u8),
    StandingBy(Seniority),
}

/// What a kill between any two lines can leave on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    marker: bool,
    shim: bool,
    conflist: bool,
    daemons: [Daemon; 3],
}

const LINES: u8 = 3;

impl Node {
    /// The first pod serves, and Plexus is installed.
    fn installed() -> Self {
        let seniority = Seniority::new(Some(1), false);
        let owner = Daemon::Owner(seniority, InstallAction::Install, LINES);
        Self {
            marker: false,
            shim: true,
            conflist: true,
            daemons: [owner, Daemon::Ended, Daemon::Ended],
        }
    }

    fn owner(&self) -> Option<usize> {
        let is_owner = |daemon: &Daemon| matches!(daemon, Daemon::Owner(..));
        self.daemons.iter().position(is_owner)
    }

    /// Starts the process of a pod, or starts it again.
    fn start(mut self, pod: usize) -> Self {
        self.daemons[pod] =
            Daemon::Waiting(Seniority::new(Some(PODS[pod].generation), self.marker));
        self
    }

    /// SIGKILL.
    fn kill(mut self, pod: usize) -> Self {
        self.daemons[pod] = Daemon::Ended;
        self
    }

    /// SIGTERM. An uninstall is not interrupted before it has tried to remove the configuration.
    fn terminate(mut self, pod: usize) -> Self {
        while let Daemon::Owner(_, action, 0..2) = self.daemons[pod]
            && action != InstallAction::Install
        {
            self = self.execute_line(pod);
        }
        self.kill(pod)
    }

    /// Executes the next line of the owner.
    fn execute_line(mut self, pod: usize) -> Self {
        let Daemon::Owner(_, action, line) = &mut self.daemons[pod] else {
            panic!("not the owner")
        };
        match (*action, *line) {
            (InstallAction::Install, 0) => self.marker = false,
            (InstallAction::Install, 1) => self.shim = true,
            (InstallAction::Install, _) => {
                assert!(!self.marker, "a daemon publishes during an uninstall");
                self.conflist = true;
            }
            (_, 0) => self.marker = true,
            (_, 1) => self.conflist = false,
            (_, _) => self.shim = false,
        }
        *line += 1;
        self
    }

    /// The next step of a daemon that needs nothing from outside, if there is one.
    fn step(mut self, pod: usize) -> Option<Self> {
        let owner = self.owner();
        let mode = PODS[pod].mode;
        match self.daemons[pod] {
            Daemon::Owner(_, _, 0..LINES) => return Some(self.execute_line(pod)),
            Daemon::Waiting(mut seniority) => {
                let other = owner.map(|owner| PODS[owner].generation);
                if seniority.yields_to(mode, other, self.marker) && owner.is_some() {
                    let is_new = !std::mem::replace(&mut seniority.has_yielded, true);
                    self.daemons[pod] = Daemon::Waiting(seniority);
                    return is_new.then_some(self);
                }
                if let Some(owner) = owner
                    && let Daemon::Owner(mut old, ..) = self.daemons[owner]
                {
                    old.has_yielded = true;
                    self.daemons[owner] = Daemon::StandingBy(old);
                }
                let action =
                    InstallAction::of(mode, self.marker, seniority.is_newer_than_uninstall());
                self.daemons[pod] = Daemon::Owner(seniority, action, 0);
            }
            Daemon::StandingBy(seniority) if owner.is_none() => {
                self.daemons[pod] = Daemon::Waiting(seniority);
            }
            Daemon::Owner(..) | Daemon::StandingBy(_) | Daemon::Ended => return None,
        }
        Some(self)
    }

    /// The node when no daemon has anything left to do.
    fn settled(mut self) -> Self {
        while let Some(next) = (0..PODS.len()).find_map(|pod| self.step(pod)) {
            self = next;
        }
        self
    }

    /// The node after the DaemonSet has only the pod `last`, or none: the other pods end in this
    /// order, and kubelet starts the process of `last` again if it has ended or its liveness probe
    /// fails.
    fn with_only(mut self, last: Option<usize>, order: [usize; 3]) -> Self {
        for pod in order.into_iter().filter(|pod| Some(*pod) != last) {
            self = self.terminate(pod).settled();
        }
        let Some(last) = last else { return self };
        let must_restart = |daemon| {
            matches!(
                daemon,
                Daemon::Ended | Daemon::Owner(_, InstallAction::ContinueUninstall, _)
            )
        };
        while must_restart(self.daemons[last]) {
            self = self.kill(last).start(last).settled();
        }
        self
    }
}

/// All states that any order of events reaches.
fn reachable() -> HashSet<Node> {
    let (mut reached, mut queue) = (HashSet::new(), vec![Node::installed()]);
    while let Some(node) = queue.pop() {
        if !reached.insert(node) {
            continue;
        }
        for pod in 0..PODS.len() {
            queue.extend(node.step(pod));
            if node.daemons[pod] == Daemon::Ended {
                queue.push(node.start(pod));
            } else {
                queue.extend([node.kill(pod), node.terminate(pod)]);
            }
        }
    }
    reached
}

const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

#[test]
fn the_daemon_set_that_exists_last_decides_whether_plexus_is_installed() {
    for node in reachable() {
        for order in ORDERS {
            for (pod, is_installed) in [(0, true), (1, false), (2, true)] {
                let last = node.with_only(Some(pod), order);
                assert_eq!(
                    (last.conflist, last.shim, last.marker),
                    (is_installed, is_installed, !is_installed),
                    "{node:?} and then only {:?}, {order:?}: {last:?}",
                    PODS[pod]
                );
            }
        }
    }
}

#[test]
fn no_configuration_is_left_when_all_daemons_end_after_an_uninstall_began() {
    for node in reachable() {
        // A SIGKILL of the last daemon between the marker and the removal cannot be made up for.
        if node.daemons.iter().all(|daemon| *daemon == Daemon::Ended) {
            continue;
        }
        let settled = node.settled();
        for order in ORDERS {
            let last = settled.with_only(None, order);
            // An older daemon neither removes the marker nor publishes.
            let is_right = last.marker != last.conflist && (last.marker || !settled.marker);
            assert!(is_right, "{settled:?}, {order:?}: {last:?}");
        }
    }
}

#[test]
fn a_pod_that_kubelet_starts_again_does_not_take_the_node_from_a_newer_one() {
    for node in reachable().into_iter().map(Node::settled) {
        let Some(owner) = node.owner() else { continue };
        for pod in 0..owner {
            let restarted = node.kill(pod).start(pod).settled();
            assert_eq!(restarted.owner(), Some(owner), "{node:?}");
        }
    }
}
