//! Checks what nothing notifies of, and logs problems of readiness when they appear and are gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{problems, state_dir};
use crate::conditions::Condition;
use crate::context::Context;
use crate::install::ProblemKind;
use crate::telemetry::ChangeFilter;

/// The pause between two checks of the state directory: no event reports that a file system is full
/// or has space again.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs until `stop`.
pub(crate) async fn monitor(context: Arc<Context>, stop: CancellationToken) {
    let node = &context.node;
    let mut objects = node.store.changes();
    let mut conditions = node.conditions.subscribe();
    let mut install_status = context.install_status.subscribe();
    let mut logged = ChangeFilter::default();
    let mut was_ready = true;
    let mut was_writable = true;
    let mut next_check = Instant::now();
    loop {
        if next_check <= Instant::now() {
            let problem = state_dir::problem(node.settings.state_dir.clone(), was_writable).await;
            was_writable = problem.is_none();
            node.conditions.set(Condition::StateDir, problem);
            next_check = Instant::now() + PAUSE;
        }
        for (_, problem) in node.conditions.problems() {
            if logged.is_new(problem.to_string()) {
                tracing::error!("not ready: {problem}");
            }
        }
        logged.end_round();
        // The start is no problem, and an uninstall has its own lines.
        let is_beginning = !node.store.is_synced()
            || [
                ProblemKind::NotChecked,
                ProblemKind::Uninstalling,
                ProblemKind::RestartRequired,
            ]
            .into_iter()
            .any(|kind| context.install_status.get().has(kind));
        if !is_beginning {
            let is_ready = problems(&context).is_empty();
            if is_ready && !std::mem::replace(&mut was_ready, is_ready) {
                tracing::info!("ready again");
            }
            was_ready = is_ready;
        }
        tokio::select! {
            // The senders live in `context`.
            _ = install_status.changed() => {}
            _ = conditions.changed() => {}
            () = objects.next() => {}
            () = sleep_until(next_check) => {}
            () = stop.cancelled() => return,
        }
    }
}
