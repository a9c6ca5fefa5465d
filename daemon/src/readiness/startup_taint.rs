//! Removal of the node's start-up taint (`startupTaint`). A node that is registered with the taint
//! gets no pods until Plexus works. The taint is removed once, after a round trip through the
//! installed shim, and never set.

use std::sync::Arc;
use std::time::Duration;

use hyper::http::Request;
use hyper::http::header::CONTENT_TYPE;
use plexus_api::cni::CniError;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::cluster::kube::{ApiError, ApiReader, ApiWriter, Connection};
use crate::context::Context;
use crate::mutex::lock;

use super::round_trip::round_trip;
use super::wait_until_ready;

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// Removes the start-up taint.
#[derive(Debug)]
pub(crate) struct StartupTaint {
    key: String,
    node: String,
    reader: ApiReader,
    writer: ApiWriter,
}

/// The reason why the taint is not removed yet.
#[derive(Debug, thiserror::Error)]
enum RemovalError {
    #[error("Plexus does not work on this node yet: {0}")]
    NotReady(#[from] CniError),
    #[error(
        "the API server has no node of this name; compare --node-name or NODE_NAME with `kubectl get nodes`"
    )]
    NoNode,
    #[error("the taints of the node have changed since they were read")]
    Changed,
    #[error(
        "{0}; apply deploy/components/startup-taint, which grants the rights, or remove the taint by hand"
    )]
    Forbidden(ApiError),
    #[error("{0}")]
    Api(ApiError),
}

impl From<ApiError> for RemovalError {
    fn from(error: ApiError) -> Self {
        match error.code() {
            403 => Self::Forbidden(error),
            404 => Self::NoNode,
            409 | 422 => Self::Changed,
            _ => Self::Api(error),
        }
    }
}

impl StartupTaint {
    /// `node` is the name of this node in the cluster. All its taints with the key `key` are
    /// removed.
    pub(crate) fn new(key: String, node: &str, connection: Arc<Connection>) -> Self {
        Self {
            key,
            node: node.to_owned(),
            reader: ApiReader::new(connection.clone()),
            writer: ApiWriter::new(connection),
        }
    }

    /// Removes the taint as soon as Plexus works. Retries until the taint is gone, or until `stop`.
    pub(crate) async fn remove(self: Arc<Self>, context: Arc<Context>, stop: CancellationToken) {
        context.node.metrics.set_startup_taint(true);
        stop.run_until_cancelled(self.remove_with_retries(&context))
            .await;
    }

    async fn remove_with_retries(&self, context: &Context) {
        let Self { key, node, .. } = self;
        let mut backoff = Backoff::up_to(MAX_PAUSE);
        let mut last_logged = String::new();
        loop {
            wait_until_ready(context).await;
            let error = match self.remove_once(context).await {
                Ok(removed) => {
                    context.node.metrics.set_startup_taint(false);
                    if removed {
                        tracing::info!(
                            node,
                            taint = key,
                            "Plexus works: the start-up taint is removed"
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
                Err(error) => error,
            };
            let reason = error.to_string();
            if reason != last_logged {
                tracing::warn!(
                    node,
                    taint = key,
                    "the start-up taint is not removed yet: {reason}"
                );
                last_logged = reason;
            }
            let retry_after = if let RemovalError::Api(api_error) = &error {
                api_error.retry_after()
            } else {
                Duration::ZERO
            };
            sleep(backoff.next(retry_after)).await;
        }
    }

    /// Removes the taint. Returns false if the node does not have the taint.
    async fn remove_once(&self, context: &Context) -> Result<bool, RemovalError> {
        let taints = self
            .reader
            .taints(&self.node)
            .await?
            .ok_or(RemovalError::NoNode)?;
        let Some(patch) = removal(&taints, &self.key) else {
            return Ok(false);
        };
        let node = &context.node;
        let plugin_dirs = lock(&node.plugin_dirs).clone();
        round_trip(&node.settings, &node.hosts, &node.delegates, plugin_dirs).await?;
        let request = Request::patch(format!("/api/v1/nodes/{}?fieldManager=plexusd", self.node))
            .header(CONTENT_TYPE, "application/json-patch+json")
            .body(patch.to_string().into_bytes())
            .map_err(|error| ApiError::from(kube::core::request::Error::BuildRequest(error)))?;
        self.writer.send(request).await?;
        Ok(true)
    }
}

/// The JSON patch that removes the taints with this key. Returns `None` if there is none. Other
/// programs change taints, too, so the patch first tests the positions of ours.
fn removal(taints: &[String], key: &str) -> Option<Value> {
    let ours: Vec<_> = (0..taints.len())
        .filter(|&index| taints[index] == key)
        .collect();
    let tests = ours.iter().map(
        |index| json!({"op": "test", "path": format!("/spec/taints/{index}/key"), "value": key}),
    );
    // In reverse order, because each removal shifts the taints after it.
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
    fn the_patch_removes_only_taints_with_the_key_and_checks_their_positions() {
        let taints = ["a", "x", "b", "x"].map(str::to_owned);
        assert_eq!(removal(&taints, "y"), None);
        assert_eq!(removal(&[], "x"), None);
        let patch = removal(&taints, "x").expect("the taint is present");
        let expected = json!([
            {"op": "test", "path": "/spec/taints/1/key", "value": "x"},
            {"op": "test", "path": "/spec/taints/3/key", "value": "x"},
            {"op": "remove", "path": "/spec/taints/3"},
            {"op": "remove", "path": "/spec/taints/1"},
        ]);
        assert_eq!(patch, expected);
    }
}
