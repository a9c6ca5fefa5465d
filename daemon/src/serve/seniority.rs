//! Which of several daemons decides what happens on the node (decision 40).

use super::mode::{InstallAction, Mode};

/// When this process was started, compared with other daemons and with an uninstall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Seniority {
    /// How often the DaemonSet of this process had been changed when the pod was created. `None`
    /// outside a DaemonSet.
    generation: Option<u64>,
    /// Whether an uninstall had begun before this process was started.
    saw_uninstall: bool,
    /// Whether this process has left the node to another daemon.
    pub(super) has_yielded: bool,
}

impl Seniority {
    /// The seniority of a process that has just started. `is_uninstalling` is whether the marker of
    /// an uninstall exists.
    pub(super) fn new(generation: Option<u64>, is_uninstalling: bool) -> Self {
        Self {
            generation,
            saw_uninstall: is_uninstalling,
            has_yielded: false,
        }
    }

    /// Whether this process was started after the uninstall that the marker shows.
    pub(super) fn is_newer_than_uninstall(self) -> bool {
        self.saw_uninstall && !self.has_yielded
    }

    /// Whether the daemon that listens on the socket keeps the node. `other` is its generation.
    /// `is_uninstalling` is whether the marker of an uninstall exists.
    pub(super) fn yields_to(self, mode: Mode, other: Option<u64>, is_uninstalling: bool) -> bool {
        let is_older = matches!((self.generation, other), (Some(own), Some(other)) if own < other);
        let continues = InstallAction::of(mode, is_uninstalling, self.is_newer_than_uninstall())
            == InstallAction::ContinueUninstall;
        is_older || continues
    }
}

#[cfg(test)]
mod tests;
