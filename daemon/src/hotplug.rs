//! Hot-plug: running pods follow the changes of their annotation (decision 34).
//!
//! One round for each pod, whenever its annotation differs from the one that was last compared with
//! the record: after a change, at start, and after an ADD, whose runtime may have had an older
//! annotation. Rounds of different pods run in parallel.

mod pods;
mod round;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use crate::attached_pods::PodName;
use crate::config::Switch;
use crate::context::Context;
use crate::mutex::lock;
use pods::Pods;
pub(crate) use pods::{RoundState, RoundStatus};
use round::{Outcome, run_round};

/// The rounds of a daemon. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rounds(Arc<Mutex<Pods>>);

impl Rounds {
    /// The rounds of all pods that do not have what their annotation asks for, by `namespace/name`.
    pub(crate) fn unsettled(&self) -> BTreeMap<String, RoundStatus> {
        lock(&self.0).unsettled()
    }
}

/// Compares annotations and records until `stop` is cancelled, and then waits for the running rounds.
/// Ends at once without hot-plug.
pub(crate) async fn run(context: Arc<Context>, rounds: Rounds, stop: CancellationToken) {
    if context.node.settings.hotplug == Switch::Off {
        return;
    }
    let store = &context.node.store;
    let mut changes = store.changes();
    let pods = &*rounds.0;
    let mut running: JoinSet<(PodName, Outcome)> = JoinSet::new();
    while !stop.is_cancelled() {
        // Before the first list, a missing annotation means nothing.
        if store.is_synced() {
            lock(pods).update(&store.pods(), store.definitions_revision());
        }
        let due = lock(pods).take_due();
        for pod in due {
            let (context, stop) = (context.clone(), stop.clone());
            running.spawn(async move {
                let round = AssertUnwindSafe(run_round(&context, &pod, &stop)).catch_unwind();
                // The panic hook has logged the panic. Without an outcome, the pod would count as
                // running for ever.
                let outcome = round.await.unwrap_or_else(|_| {
                    let text = "the round has panicked; the log of plexusd says where";
                    Outcome::Failed(text.to_owned())
                });
                context.node.metrics.hotplug_round(outcome.as_str());
                (pod, outcome)
            });
        }
        context
            .node
            .metrics
            .set_hotplug_pending(lock(pods).pending());
        let next_retry = lock(pods).next_retry();
        let retry = async {
            match next_retry {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changes.next() => {}
            () = retry => {}
            attached = context.attached_pods.next() => lock(pods).mark_attached(&attached),
            Some(round) = running.join_next(), if !running.is_empty() => match round {
                Ok((pod, outcome)) => lock(pods).finished(&pod, outcome),
                Err(error) => tracing::error!(%error, "a change of a running pod was aborted"),
            },
            () = stop.cancelled() => {}
        }
    }
    while running.join_next().await.is_some() {}
}
