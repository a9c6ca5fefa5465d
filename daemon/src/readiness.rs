//! Readiness of the node: the problems that `/readyz` reports, and the tasks that depend on them.

mod node_events;
mod round_trip;
mod startup_taint;

use std::path::Path;

pub(crate) use node_events::emit_node_events;
pub(crate) use startup_taint::StartupTaint;

use crate::context::Context;
use crate::install::ProblemKind;
use crate::ledger::Ledger;

/// The reasons why the node is not ready, one line each. Empty if it is ready.
pub(crate) fn problems(context: &Context) -> Vec<String> {
    let unsynced = (!context.node.store.is_synced())
        .then(|| "the pods and definitions of this node are not known yet".to_owned());
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

/// Waits until `/readyz` reports no problem.
pub(crate) async fn wait_until_ready(context: &Context) {
    let mut install_status = context.install_status.subscribe();
    let mut objects = context.node.store.changes();
    while !problems(context).is_empty() {
        tokio::select! {
            // The sender lives in `context`.
            _ = install_status.changed() => {}
            () = objects.next() => {}
        }
    }
}

/// The response to `/readyz` and `/healthz` until this daemon owns the ledger. Names the owner.
pub(crate) async fn waiting_for_ledger(state_dir: &Path) -> String {
    let state_dir = state_dir.to_owned();
    tokio::task::spawn_blocking(move || Ledger::locked_error(&state_dir))
        .await
        .map_or_else(
            |panic| panic.to_string(),
            |holder| format!("plexusd waits for the ledger: {holder}\n"),
        )
}
