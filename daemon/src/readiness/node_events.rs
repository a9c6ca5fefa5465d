//! Events on the node object about the installation, where the node's administrator looks.

use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::install::{Problem, ProblemKind};
use crate::report::events::EventReason;

/// Emits an event for each problem that appears, and counts how often the published configuration is restored, until
/// `stop`.
pub(crate) async fn emit_node_events(context: &Context, stop: CancellationToken) {
    let mut status = context.installed.subscribe();
    let (mut reported, mut restored) = (Vec::<Problem>::new(), 0);
    loop {
        let state = status.borrow_and_update().clone();
        let again = state.restored.saturating_sub(restored);
        context.node.metrics.config_restored(again);
        for problem in &state.problems {
            // Each further restoration repeats the event of the conflict.
            if !reported.contains(problem)
                || (problem.kind == ProblemKind::ConfigConflict && again > 0)
            {
                emit(context, problem);
            }
        }
        (reported, restored) = (state.problems, state.restored);
        tokio::select! {
            // The sender lives in `context`.
            _ = status.changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Emits an event if other programs on the node cause the problem, and an administrator can end it. The log has all
/// problems.
fn emit(context: &Context, problem: &Problem) {
    let reason = match problem.kind {
        ProblemKind::ConfigNotFirst => EventReason::CNIConfigNotFirst,
        ProblemKind::ConfigConflict => EventReason::CNIConfigConflict,
        ProblemKind::NotChecked
        | ProblemKind::NoDefaultNetwork
        | ProblemKind::ShimNotInstalled
        | ProblemKind::ConfigNotPublished
        | ProblemKind::Uninstalling => return,
    };
    context.reporter.node_event(reason, &problem.text);
}
