//! Events on the node object about problems of the installation.

use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::install::{InstallProblem, ProblemKind};
use crate::report::events::EventReason;

/// Until `stop`, emits an event for each new problem, and counts how often the published
/// configuration is restored.
pub(crate) async fn emit_node_events(context: &Context, stop: CancellationToken) {
    let mut status = context.install_status.subscribe();
    let (mut reported, mut restored) = (Vec::<InstallProblem>::new(), 0);
    loop {
        let state = status.borrow_and_update().clone();
        let newly_restored = state.restored.saturating_sub(restored);
        context.node.metrics.config_restored(newly_restored);
        for problem in &state.problems {
            // The event of a conflict is repeated after each restoration.
            if !reported.contains(problem)
                || (problem.kind == ProblemKind::ConfigConflict && newly_restored > 0)
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

/// Emits an event if another program on the node causes the problem, so that an administrator has
/// to act. The log has all problems.
fn emit(context: &Context, found: &InstallProblem) {
    let reason = match found.kind {
        ProblemKind::ConfigNotFirst => EventReason::CNIConfigNotFirst,
        ProblemKind::ConfigConflict => EventReason::CNIConfigConflict,
        ProblemKind::NotChecked
        | ProblemKind::NoDefaultNetwork
        | ProblemKind::ShimNotInstalled
        | ProblemKind::ConfigNotPublished
        | ProblemKind::Uninstalling
        | ProblemKind::RestartRequired => return,
    };
    let text = found.problem.to_string();
    context.reporter.node_event(reason, &text);
}
