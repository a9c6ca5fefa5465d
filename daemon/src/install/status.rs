//! The state of the installation, for `/readyz`, metrics and events.

use tokio::sync::watch;

use crate::problem::Problem;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InstallState {
    pub(crate) problems: Vec<InstallProblem>,
    /// The number of times that the published configuration was restored.
    pub(crate) restored: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InstallProblem {
    pub(crate) kind: ProblemKind,
    pub(crate) problem: Problem,
}

/// Kinds of problems with the installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The installation has not been checked yet.
    NotChecked,
    /// No default network is known.
    NoDefaultNetwork,
    /// The shim cannot be installed.
    ShimNotInstalled,
    /// The runtime's configuration cannot be written, or the runtime's directories cannot be
    /// watched.
    ConfigNotPublished,
    /// Another file sorts before ours, so the runtime loads that one (C-14).
    ConfigNotFirst,
    /// Another program keeps removing or changing our file. The file is restored each time, so the
    /// node stays ready.
    ConfigConflict,
    /// The uninstall is not complete.
    Uninstalling,
    /// An uninstall has begun since this daemon was started to install Plexus (decision 40).
    RestartRequired,
}

impl ProblemKind {
    pub const ALL: [Self; 8] = [
        Self::NotChecked,
        Self::NoDefaultNetwork,
        Self::ShimNotInstalled,
        Self::ConfigNotPublished,
        Self::ConfigNotFirst,
        Self::ConfigConflict,
        Self::Uninstalling,
        Self::RestartRequired,
    ];

    /// The value of the label `problem` in metrics, and the name in the output of `plexusd status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotChecked => "not_checked",
            Self::NoDefaultNetwork => "no_default_network",
            Self::ShimNotInstalled => "shim_not_installed",
            Self::ConfigNotPublished => "config_not_published",
            Self::ConfigNotFirst => "config_not_first",
            Self::ConfigConflict => "config_conflict",
            Self::Uninstalling => "uninstalling",
            Self::RestartRequired => "restart_required",
        }
    }
}

impl InstallProblem {
    /// Whether the problem makes the node not ready.
    pub(crate) fn is_fatal(&self) -> bool {
        self.kind != ProblemKind::ConfigConflict
    }
}

impl InstallState {
    /// The problems that keep the node from being ready.
    pub(crate) fn not_ready(&self) -> impl Iterator<Item = &InstallProblem> {
        self.problems.iter().filter(|problem| problem.is_fatal())
    }

    pub(crate) fn has(&self, kind: ProblemKind) -> bool {
        self.problems.iter().any(|problem| problem.kind == kind)
    }
}

/// The shared state of the installation.
#[derive(Debug, Clone)]
pub(crate) struct InstallStatus(watch::Sender<InstallState>);

impl InstallStatus {
    /// The status of a daemon that installs nothing.
    pub(crate) fn not_installing() -> Self {
        Self(watch::Sender::default())
    }

    /// The status before the first check. `text` names the step that is pending.
    pub(crate) fn not_checked(text: &str) -> Self {
        let problem = InstallProblem {
            kind: ProblemKind::NotChecked,
            problem: Problem::new(
                text,
                "wait a moment; if this stays, read the log of plexusd",
            ),
        };
        Self(watch::Sender::new(InstallState {
            problems: vec![problem],
            restored: 0,
        }))
    }

    pub(crate) fn get(&self) -> InstallState {
        self.0.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<InstallState> {
        self.0.subscribe()
    }

    pub(super) fn set(&self, problems: Vec<InstallProblem>, restored: u64) {
        self.0.send_if_modified(|state| {
            let new = InstallState { problems, restored };
            let is_changed = *state != new;
            *state = new;
            is_changed
        });
    }
}
