//! The recent warnings of a pod, which only the running daemon has.

use std::path::Path;
use std::time::Duration;

use plexus_api::wire::SOCKET_NAME;
use serde::Serialize;
use tokio::time::timeout;

use crate::clock::unix_ms;
use crate::report::events::PodWarning;
use crate::server::{WARNINGS, get};

/// The time limit for the response of the daemon.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);

/// A warning that the daemon has emitted as an event of the pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastError {
    pub(super) age_seconds: u64,
    /// The reason of the event.
    pub(super) reason: String,
    pub(super) message: String,
}

/// The recent warnings of a pod, the oldest first. Empty if no daemon responds.
pub(super) async fn of_pod(socket_dir: &Path, namespace: &str, name: &str) -> Vec<LastError> {
    let socket = socket_dir.join(SOCKET_NAME);
    let Ok(Ok(response)) = timeout(RESPONSE_LIMIT, get(&socket, WARNINGS)).await else {
        return Vec::new();
    };
    // An older daemon does not have the path.
    let warnings: Vec<PodWarning> = serde_json::from_slice(&response.body).unwrap_or_default();
    let now = unix_ms();
    let of_pod = warnings
        .into_iter()
        .filter(|warning| warning.namespace == namespace && warning.name == name);
    of_pod
        .map(|warning| LastError {
            age_seconds: now.saturating_sub(warning.unix_ms) / 1000,
            reason: warning.reason,
            message: warning.message,
        })
        .collect()
}
