//! The start-up taint of the node (`startupTaint`): who registers nodes with it keeps pods away until Plexus works there.
//! It is taken off once, after a test of all that a pod needs, and never put on.

use std::sync::Arc;
use std::time::Duration;

use hyper::http::Request;
use hyper::http::header::CONTENT_TYPE;
use plexus_api::cni::CniError;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::cluster::kube::{Connection, Live, Trouble, Writes};
use crate::context::Context;

use super::round_trip::round_trip;
use super::wait_until_ready;

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Takes the taint off the node.
#[derive(Debug)]
pub(crate) struct StartupTaint {
    key: String,
    node: String,
    reads: Live,
    writes: Writes,
}

/// Why the taint is still there.
#[derive(Debug, thiserror::Error)]
enum NotYet {
    /// The node has it, and the runtime would not find us ready.
    #[error("Plexus does not work on this node yet: {0}")]
    NotReady(#[from] CniError),
    /// The API server does not know the node.
    #[error(
        "the API server has no node of this name; compare --node-name or NODE_NAME with `kubectl get nodes`"
    )]
    NoNode,
    /// The taints are others than those that were read.
    #[error("the taints of the node have changed meanwhile")]
    Changed,
    /// The API server forbids it.
    #[error("{}; apply deploy/components/startup-taint, which has the rights, or take it off by hand", .0.text())]
    Forbidden(Trouble),
    /// The API server does not do it.
    #[error("{}", .0.text())]
    Trouble(Trouble),
}

impl From<Trouble> for NotYet {
    fn from(trouble: Trouble) -> Self {
        match trouble.code() {
            403 => Self::Forbidden(trouble),
            404 => Self::NoNode,
            409 | 422 => Self::Changed,
            _ => Self::Trouble(trouble),
        }
    }
}

impl StartupTaint {
    /// All taints with this key, on this node of the cluster of `connection`.
    pub(crate) fn new(key: String, node: &str, connection: Arc<Connection>) -> Self {
        let (reads, writes) = (Live::new(connection.clone()), Writes::new(connection));
        Self {
            key,
            node: node.to_owned(),
            reads,
            writes,
        }
    }

    /// Takes it off as soon as Plexus works, and tries until it is gone or `stop`.
    pub(crate) async fn remove(self: Arc<Self>, context: Arc<Context>, stop: CancellationToken) {
        context.node.metrics.startup_taint(true);
        stop.run_until_cancelled(self.try_until_gone(&context))
            .await;
    }

    async fn try_until_gone(&self, context: &Context) {
        let Self { key, node, .. } = self;
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        let mut told = String::new();
        loop {
            wait_until_ready(context).await;
            let not_yet = match self.try_once(context).await {
                Ok(was_there) => {
                    context.node.metrics.startup_taint(false);
                    if was_there {
                        tracing::info!(
                            node,
                            taint = key,
                            "Plexus works: the start-up taint is taken off"
                        );
                    } else {
                        tracing::debug!(
                            node,
                            taint = key,
                            "the node does not have the start-up taint"
                        );
                    }
                    return;
                }
                Err(not_yet) => not_yet,
            };
            let why = not_yet.to_string();
            if why != told {
                tracing::warn!(node, taint = key, "the start-up taint stays for now: {why}");
                told = why;
            }
            let asked = if let NotYet::Trouble(trouble) = &not_yet {
                trouble.retry_after()
            } else {
                Duration::ZERO
            };
            sleep(backoff.next(asked)).await;
        }
    }

    /// Whether the taint was there. It is not any more.
    async fn try_once(&self, context: &Context) -> Result<bool, NotYet> {
        let taints = self.reads.taints(&self.node).await?.ok_or(NotYet::NoNode)?;
        let Some(patch) = removal(&taints, &self.key) else {
            return Ok(false);
        };
        round_trip(context).await?;
        let request = Request::patch(format!("/api/v1/nodes/{}?fieldManager=plexusd", self.node))
            .header(CONTENT_TYPE, "application/json-patch+json")
            .body(patch.to_string().into_bytes())
            .map_err(|error| Trouble::from(kube::core::request::Error::BuildRequest(error)))?;
        self.writes.send(request).await?;
        Ok(true)
    }
}

/// The JSON patch that removes the taints with this key, where there is one. Others write taints as well: the patch fails
/// where ours are not in their places any more, and mentions no other.
fn removal(taints: &[String], key: &str) -> Option<Value> {
    let ours: Vec<_> = (0..taints.len())
        .filter(|&index| taints[index] == key)
        .collect();
    let tests = ours.iter().map(
        |index| json!({"op": "test", "path": format!("/spec/taints/{index}/key"), "value": key}),
    );
    // The last first: those before it keep their places.
    let removals = ours
        .iter()
        .rev()
        .map(|index| json!({"op": "remove", "path": format!("/spec/taints/{index}")}));
    (!ours.is_empty()).then(|| tests.chain(removals).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_taints_of_that_key_are_removed_and_only_from_where_they_were() {
        let taints = ["a", "x", "b", "x"].map(str::to_owned);
        assert_eq!(removal(&taints, "y"), None);
        assert_eq!(removal(&[], "x"), None);
        let patch = removal(&taints, "x").expect("it is there");
        let expected = json!([
            {"op": "test", "path": "/spec/taints/1/key", "value": "x"},
            {"op": "test", "path": "/spec/taints/3/key", "value": "x"},
            {"op": "remove", "path": "/spec/taints/3"},
            {"op": "remove", "path": "/spec/taints/1"},
        ]);
        assert_eq!(patch, expected);
    }
}
