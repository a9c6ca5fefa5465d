//! What the daemon tells of its installation: `/readyz`, and later metrics and events.

use tokio::sync::watch;

/// The state of the installation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// What keeps the node from being ready, one line each.
    pub problems: Vec<String>,
    /// How often the published configuration was put back.
    pub restored: u64,
    /// That others keep taking it away, and what to change.
    pub contested: Option<String>,
}

/// The state of the installation, shared.
#[derive(Debug, Clone)]
pub struct Status(watch::Sender<State>);

impl Status {
    /// With nothing to install there is nothing missing.
    pub fn nothing() -> Self {
        Self(watch::Sender::default())
    }

    /// Before the first look.
    pub fn pending() -> Self {
        let problems = vec!["the runtime's configuration is not published yet".to_owned()];
        Self(watch::Sender::new(State { problems, ..State::default() }))
    }

    /// The state now.
    pub fn get(&self) -> State {
        self.0.borrow().clone()
    }

    /// News of it from here on.
    pub fn follow(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    pub(super) fn set(&self, problems: Vec<String>, restored: u64, contested: Option<String>) {
        self.0.send_if_modified(|state| {
            for problem in problems.iter().filter(|problem| !state.problems.contains(problem)) {
                tracing::error!("not ready: {problem}");
            }
            if let Some(contested) = contested.as_ref().filter(|_| state.contested.is_none()) {
                tracing::error!(restored, "{contested}");
            }
            let new = State { problems, restored, contested };
            let changed = *state != new;
            *state = new;
            changed
        });
    }
}
