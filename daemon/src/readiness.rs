//! Readiness of the node: the problems that `/readyz` reports, and the tasks that depend on them.

mod monitor;
mod node_events;
mod round_trip;
mod startup;
mod startup_taint;
pub(crate) mod state_dir;

pub(crate) use monitor::monitor;
pub(crate) use node_events::emit_node_events;
pub(crate) use startup::Startup;
pub(crate) use startup_taint::StartupTaint;

use crate::conditions::Condition;
use crate::context::Context;
use crate::install::ProblemKind;

/// The reasons why the node is not ready, one line each. Empty if it is ready. Costs nothing: no
/// plugin runs, and nothing is read from disk.
pub(crate) fn problems(context: &Context) -> Vec<String> {
    let conditions = context.node.conditions.problems();
    let mut problems = problems_of_daemon(context);
    problems.extend(conditions.into_iter().map(|(_, text)| text));
    problems
}

/// The reasons that the daemon finds by itself, without a STATUS of the runtime.
fn problems_of_daemon(context: &Context) -> Vec<String> {
    let store = &context.node.store;
    let unsynced = (!store.is_synced()).then(|| {
        let text = "the pods and definitions of this node are not known yet";
        match store.failure() {
            None => text.to_owned(),
            Some(failure) => format!("{text}: {failure}"),
        }
    });
    let status = context.install_status.get();
    let not_installed = status.not_ready().map(str::to_owned);
    unsynced.into_iter().chain(not_installed).collect()
}

/// The reason why this daemon must be restarted, if it must (decision 40).
pub(crate) fn restart_required(context: &Context) -> Option<String> {
    let problems = context.install_status.get().problems;
    let problem = problems
        .into_iter()
        .find(|problem| problem.kind == ProblemKind::RestartRequired)?;
    Some(problem.text)
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
