//! What only the running daemon knows about a pod: its recent warnings, and what it still has to do.

use std::path::Path;
use std::time::Duration;

use plexus_api::wire::SOCKET_NAME;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::clock::unix_ms;
use crate::commands::age;
use crate::hotplug::{RoundState, RoundStatus};
use crate::report::WriteState;
use crate::report::events::PodWarning;
use crate::server::{PENDING, Pending, WARNINGS, get};

/// The time limit for the response of the daemon.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);

/// What the daemon knows about a pod. Empty if no daemon responds.
#[derive(Debug)]
pub(super) struct FromDaemon {
    /// The recent warnings, the oldest first.
    pub(super) last_errors: Vec<LastError>,
    pub(super) status_write: Option<WriteState>,
    pub(super) hotplug_round: Option<RoundStatus>,
}

/// A warning that the daemon has emitted as an event of the pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LastError {
    pub(super) age_seconds: u64,
    /// The reason of the event.
    pub(super) reason: String,
    pub(super) message: String,
}

impl FromDaemon {
    pub(super) async fn of_pod(socket_dir: &Path, namespace: &str, name: &str) -> Self {
        let socket = socket_dir.join(SOCKET_NAME);
        let (warnings, mut pending): (Vec<PodWarning>, Pending) =
            tokio::join!(ask(&socket, WARNINGS), ask(&socket, PENDING));
        let now = unix_ms();
        let of_pod = warnings
            .into_iter()
            .filter(|warning| warning.namespace == namespace && warning.name == name);
        let last_errors = of_pod.map(|warning| LastError {
            age_seconds: now.saturating_sub(warning.unix_ms) / 1000,
            reason: warning.reason,
            message: warning.message,
        });
        let pod = format!("{namespace}/{name}");
        Self {
            last_errors: last_errors.collect(),
            status_write: pending.network_status.remove(&pod),
            hotplug_round: pending.hotplug.remove(&pod),
        }
    }
}

/// The response of the daemon, or the default if no daemon responds. An older daemon does not have
/// each path.
async fn ask<T: DeserializeOwned + Default>(socket: &Path, path: &str) -> T {
    match timeout(RESPONSE_LIMIT, get(socket, path)).await {
        Ok(Ok(response)) => serde_json::from_slice(&response.body).unwrap_or_default(),
        _ => T::default(),
    }
}

/// Why a network-status is not written yet. `None` if the write is done.
pub(super) fn status_problem(write: &WriteState) -> Option<String> {
    let cause = match write {
        WriteState::Sending => "the API server has not answered yet",
        WriteState::WaitingForMirror => "the API server has no mirror of this static pod yet",
        WriteState::Failed(error) | WriteState::Refused(error) => {
            &format!("{error}; plexusd retries")
        }
        WriteState::Done => return None,
    };
    Some(format!("network-status is not written yet: {cause}"))
}

/// Why hot-plug has not changed the pod yet.
pub(super) fn round_problem(round: &RoundStatus) -> String {
    let age = age::seconds(round.age_seconds);
    let text = match round.state {
        RoundState::Running => format!("hot-plug has been changing the pod for {age}"),
        RoundState::Refused => format!(
            "hot-plug refused the annotation {age} ago, and tries again if the annotation or a definition changes"
        ),
        RoundState::Failed => {
            let retry = age::seconds(round.retry_seconds.unwrap_or_default());
            format!("hot-plug failed {age} ago, and is retried in {retry}")
        }
    };
    match (round.state, &round.error) {
        (_, None) => text,
        (RoundState::Running, Some(error)) => format!("{text}; the last change failed: {error}"),
        (_, Some(error)) => format!("{text}: {error}"),
    }
}
