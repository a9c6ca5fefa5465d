//! Hot-plug: running pods follow the changes of their annotation (decision 34).
//!
//! One round for each pod, whenever its annotation differs from the one that was last compared with
//! the record: after a change, at start, and after an ADD, whose runtime may have had an older
//! annotation. Rounds of different pods run in parallel.

mod pods;
mod round;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::attached_pods::PodName;
use crate::config::Switch;
use crate::context::Context;
use pods::Pods;
use round::{Outcome, run_round};

/// Compares annotations and records until `stop` is cancelled, and then waits for the running rounds.
/// Ends at once without hot-plug.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    if context.node.settings.hotplug == Switch::Off {
        return;
    }
    let store = &context.node.store;
    let mut changes = store.changes();
    let mut pods = Pods::default();
    let mut rounds: JoinSet<(PodName, Outcome)> = JoinSet::new();
    while !stop.is_cancelled() {
        // Before the first list, a missing annotation means nothing.
        if store.is_synced() {
            pods.update(&store.pods(), store.definitions_revision());
        }
        for pod in pods.take_due() {
            let (context, stop) = (context.clone(), stop.clone());
            rounds.spawn(async move {
                let round = AssertUnwindSafe(run_round(&context, &pod, &stop)).catch_unwind();
                // The panic hook has logged the panic. Without an outcome, the pod would count as
                // running for ever.
                let outcome = round.await.unwrap_or(Outcome::Failed);
                context.node.metrics.hotplug_round(outcome.as_str());
                (pod, outcome)
            });
        }
        context.node.metrics.set_hotplug_pending(pods.pending());
        let next_retry = pods.next_retry();
        let retry = async {
            match next_retry {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changes.next() => {}
            () = retry => {}
            attached = context.attached_pods.next() => pods.mark_attached(&attached),
            Some(round) = rounds.join_next(), if !rounds.is_empty() => match round {
                Ok((pod, outcome)) => pods.finished(&pod, outcome),
                Err(error) => tracing::error!(%error, "a change of a running pod was aborted"),
            },
            () = stop.cancelled() => {}
        }
    }
    while rounds.join_next().await.is_some() {}
}
