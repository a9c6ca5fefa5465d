//! What becomes of the installation is told on the node, where its administrator looks.

use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::install::{Problem, ProblemKind};
use crate::report::events::EventReason;

impl Context {
    /// Tells of problems as they appear, and counts how often our configuration is put back, until `stop`.
    pub(crate) async fn watch_installation(&self, stop: CancellationToken) {
        let mut status = self.installed.follow();
        let (mut told, mut restored) = (Vec::<Problem>::new(), 0);
        loop {
            let state = status.borrow_and_update().clone();
            let again = state.restored.saturating_sub(restored);
            self.metrics.config_restored(again);
            for problem in &state.problems {
                // Whoever takes our file away once more does so in a quarrel that was told of already.
                if !told.contains(problem)
                    || (problem.kind == ProblemKind::ConfigConflict && again > 0)
                {
                    self.tell(problem);
                }
            }
            (told, restored) = (state.problems, state.restored);
            tokio::select! {
                // It lives as long as we do.
                _ = status.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Those that others on the node make, and an administrator can end. All are in the log.
    fn tell(&self, problem: &Problem) {
        let reason = match problem.kind {
            ProblemKind::ConfigNotFirst => EventReason::CNIConfigNotFirst,
            ProblemKind::ConfigConflict => EventReason::CNIConfigConflict,
            ProblemKind::NotChecked
            | ProblemKind::NoDefaultNetwork
            | ProblemKind::ShimNotInstalled
            | ProblemKind::ConfigNotPublished
            | ProblemKind::Uninstalling => return,
        };
        self.reporter.node_event(reason, &problem.text);
    }
}
