//! The daemon: whether it listens, whether it is ready, and whether the runtime reaches it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::wire::SOCKET_NAME;
use tokio::time::timeout;

use super::facts::Facts;
use super::finding::{Finding, Level, Outcome};
use crate::readiness;
use crate::server::{NodeStatus, Response, STATUS, get, no_daemon};

/// The time limit for a response of the daemon.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);

fn path(facts: &Facts) -> PathBuf {
    facts.settings().socket_dir.join(SOCKET_NAME)
}

async fn request(socket: &Path, path: &str) -> io::Result<Response> {
    let response = timeout(RESPONSE_LIMIT, get(socket, path)).await;
    response.unwrap_or_else(|_| {
        let text = format!("no response within {RESPONSE_LIMIT:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// A daemon listens and responds.
pub(super) async fn socket(facts: &Facts) -> Outcome {
    let path = path(facts);
    let subject = path.display().to_string();
    let pid = facts.daemon.as_ref().map(|daemon| daemon.pid);
    let finding = match (request(&path, "/healthz").await, pid) {
        (Err(error), None) if no_daemon(&error) => {
            Some(Finding::failed(subject, "no plexusd listens, and none runs here").with_remedy(
                "start plexusd; its last log line says why it ended: `kubectl --namespace kube-system logs --previous POD`",
            ))
        }
        (Err(error), Some(pid)) if no_daemon(&error) => {
            let text = format!("plexusd (pid {pid}) runs, but does not listen");
            Some(Finding::failed(subject, text).with_remedy(
                "its log says what it waits for; if the log is silent, restart plexusd",
            ))
        }
        (Err(error), _) => {
            let text = format!("plexusd does not respond: {error}");
            Some(Finding::failed(subject, text).with_remedy("read its log, and restart plexusd"))
        }
        (Ok(response), _) if !response.status.is_success() => {
            let body = String::from_utf8_lossy(&response.body);
            let text = format!("plexusd reports that it is not alive: {}", body.trim());
            Some(Finding::failed(subject, text).with_remedy("restart plexusd"))
        }
        (Ok(_), _) => None,
    };
    finding.into()
}

/// The reasons of the daemon why it is not ready, and its warnings.
pub(super) async fn readiness(facts: &Facts) -> Outcome {
    const SUBJECT: &str = "plexusd";
    let response = match request(&path(facts), STATUS).await {
        Ok(response) => response,
        Err(error) => return Some(Finding::failed(SUBJECT, error.to_string())).into(),
    };
    let status: NodeStatus = match serde_json::from_slice(&response.body) {
        Ok(status) => status,
        Err(error) => {
            let text = format!("the response to {STATUS} cannot be read: {error}");
            let remedy = "use the doctor of the running plexusd: it may have another version";
            return Some(Finding::failed(SUBJECT, text).with_remedy(remedy)).into();
        }
    };
    let Some(daemon) = status.daemon else {
        return Vec::new().into();
    };
    let not_ready = daemon.not_ready.into_iter();
    let not_ready = not_ready.map(|reason| Finding::of("plexusd is not ready", reason.problem));
    let warnings = daemon.warnings.into_iter().map(|warning| Finding {
        level: Level::Warning,
        ..Finding::of(SUBJECT, warning.problem)
    });
    not_ready.chain(warnings).collect::<Vec<_>>().into()
}

/// A STATUS as the runtime issues it: the installed shim, with the published configuration, calls
/// the daemon over the socket.
pub(super) async fn round_trip(facts: &Facts) -> Outcome {
    let settings = facts.settings();
    let Some(plugins) = &facts.plugins else {
        return Outcome::NotApplicable("plugins cannot run");
    };
    if settings.publish.is_none() || settings.shim_dir.is_none() {
        return Outcome::NotApplicable("plexusd does not install the shim and its configuration");
    }
    let dirs = facts.plugin_dirs(plugins);
    let called = readiness::round_trip(settings, &plugins.hosts, &plugins.delegates, dirs).await;
    let finding = called.err().map(|error| {
        Finding::failed("STATUS through the installed shim", error.msg).with_remedy(
            "the runtime gets the same error for each pod and reports the node as NotReady",
        )
    });
    finding.into()
}
