//! Readiness of the node: the problems that `/readyz` reports, and the tasks that depend on them.

mod monitor;
mod node_events;
mod round_trip;
mod startup;
mod startup_taint;
pub(crate) mod state_dir;

pub(crate) use monitor::monitor;
pub(crate) use node_events::emit_node_events;
pub(crate) use round_trip::round_trip;
pub(crate) use startup::{REPAIR_STATE_DIR, Startup};
pub(crate) use startup_taint::StartupTaint;

use serde::{Deserialize, Serialize};

use crate::conditions::Condition;
use crate::context::Context;
use crate::install::{InstallProblem, ProblemKind};
use crate::problem::Problem;

/// A reason why the node is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NotReady {
    /// The name of the kind, for programs.
    pub(crate) kind: String,
    #[serde(flatten)]
    pub(crate) problem: Problem,
}

impl NotReady {
    pub(crate) fn new(kind: &str, problem: Problem) -> Self {
        Self {
            kind: kind.to_owned(),
            problem,
        }
    }
}

impl From<&InstallProblem> for NotReady {
    fn from(found: &InstallProblem) -> Self {
        Self::new(found.kind.name(), found.problem.clone())
    }
}

/// The reasons why the node is not ready. Empty if it is ready. Costs nothing: no plugin runs, and
/// nothing is read from disk.
pub(crate) fn problems(context: &Context) -> Vec<NotReady> {
    let conditions = context.node.conditions.problems().into_iter();
    let mut problems = problems_of_daemon(context);
    problems.extend(conditions.map(|(kind, problem)| NotReady::new(kind.name(), problem)));
    problems
}

/// The reasons that the daemon finds by itself, without a STATUS of the runtime.
fn problems_of_daemon(context: &Context) -> Vec<NotReady> {
    let store = &context.node.store;
    let unsynced = (!store.is_synced()).then(|| {
        let text = "the pods and definitions of this node are not known yet";
        let text = match store.failure() {
            None => text.to_owned(),
            Some(failure) => format!("{text}: {failure}"),
        };
        let remedy =
            "check that this node reaches the API server, that the CRD is installed, and that the ServiceAccount has \
             the rights in deploy/node/access.yaml";
        NotReady::new("not_synced", Problem::new(text, remedy))
    });
    let status = context.install_status.get();
    let not_installed = status.not_ready().map(NotReady::from);
    unsynced.into_iter().chain(not_installed).collect()
}

/// The reason why this daemon must be restarted, if it must (decision 40).
pub(crate) fn restart_required(context: &Context) -> Option<String> {
    let problems = context.install_status.get().problems;
    let found = problems
        .into_iter()
        .find(|found| found.kind == ProblemKind::RestartRequired)?;
    Some(found.problem.to_string())
}

/// Waits until `/readyz` reports no problem, apart from the plugins: a STATUS has to find out
/// whether they are ready.
pub(crate) async fn wait_until_ready(context: &Context) {
    let mut install_status = context.install_status.subscribe();
    let mut conditions = context.node.conditions.subscribe();
    let mut objects = context.node.store.changes();
    let is_ready = || {
        let conditions = context.node.conditions.problems();
        problems_of_daemon(context).is_empty()
            && conditions
                .iter()
                .all(|(condition, _)| *condition == Condition::Plugins)
    };
    while !is_ready() {
        tokio::select! {
            // The senders live in `context`.
            _ = install_status.changed() => {}
            _ = conditions.changed() => {}
            () = objects.next() => {}
        }
    }
}
