//! What the daemon tells of its installation: `/readyz`, the metrics and events are made of it.

use tokio::sync::watch;

/// The state of the installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// What is wrong.
    pub(crate) problems: Vec<Problem>,
    /// How often the published configuration was put back.
    pub(crate) restored: u64,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What kind of thing.
    pub(crate) kind: ProblemKind,
    /// What, with what to do about it; one line.
    pub(crate) text: String,
}

/// The kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// Nothing was looked at yet.
    Pending,
    /// There is no default network.
    DefaultNetwork,
    /// The shim is not in place.
    Shim,
    /// The runtime's configuration cannot be written.
    Unpublished,
    /// The runtime loads another file than ours, because its name comes first (C-14).
    Shadowed,
    /// Others keep taking our file away. It was put back each time, so the node is ready all the same.
    Contested,
    /// Plexus leaves the node, and waits for something.
    Leaving,
}

impl ProblemKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::DefaultNetwork,
        Self::Shim,
        Self::Unpublished,
        Self::Shadowed,
        Self::Contested,
        Self::Leaving,
    ];

    /// Its name in the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::DefaultNetwork => "default_network",
            Self::Shim => "shim",
            Self::Unpublished => "unpublished",
            Self::Shadowed => "shadowed",
            Self::Contested => "contested",
            Self::Leaving => "leaving",
        }
    }
}

impl Problem {
    pub(super) fn new(kind: ProblemKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }

    /// Whether the node is not ready for it.
    pub(crate) fn is_fatal(&self) -> bool {
        self.kind != ProblemKind::Contested
    }
}

impl State {
    /// What keeps the node from being ready, one line each.
    pub(crate) fn not_ready(&self) -> impl Iterator<Item = &str> {
        self.problems
            .iter()
            .filter(|problem| problem.is_fatal())
            .map(|problem| problem.text.as_str())
    }

    /// Whether there is such a problem.
    pub(crate) fn has(&self, kind: ProblemKind) -> bool {
        self.problems.iter().any(|problem| problem.kind == kind)
    }
}

/// The state of the installation, shared.
#[derive(Debug, Clone)]
pub(crate) struct Status(watch::Sender<State>);

impl Status {
    /// With nothing to install there is nothing missing.
    pub(crate) fn nothing() -> Self {
        Self(watch::Sender::default())
    }

    /// Before the first look; what has not been done yet.
    pub(crate) fn pending(what: &str) -> Self {
        let problem = Problem::new(ProblemKind::Pending, what);
        Self(watch::Sender::new(State {
            problems: vec![problem],
            restored: 0,
        }))
    }

    /// The state now.
    pub(crate) fn get(&self) -> State {
        self.0.borrow().clone()
    }

    /// News of it from here on.
    pub(crate) fn follow(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    pub(super) fn set(&self, problems: Vec<Problem>, restored: u64) {
        self.0.send_if_modified(|state| {
            // To leave is what was asked for: whoever does it tells of it.
            let told = |problem: &Problem| {
                problem.kind == ProblemKind::Leaving || state.problems.contains(problem)
            };
            for problem in problems.iter().filter(|problem| !told(problem)) {
                let not_ready = if problem.is_fatal() {
                    "not ready: "
                } else {
                    ""
                };
                tracing::error!("{not_ready}{}", problem.text);
            }
            let new = State { problems, restored };
            let changed = *state != new;
            *state = new;
            changed
        });
    }
}
