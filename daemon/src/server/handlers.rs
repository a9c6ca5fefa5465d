//! The handlers of the socket: `/cni`, `/delegate`, `/healthz` and `/readyz` as in Multus, `/metrics`,
//! `/alive` for other daemons, `/loglevel`, `/status`, `/warnings`, `/pending`, `/ledger/abandon`
//! and `/ledger/retry` for operators.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use plexus_api::cni::{CniError, Code};
use plexus_api::json::count_values;
use plexus_api::wire::MAX_REQUEST_VALUES;
use plexus_api::{shorten, wire};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::ReceivedBody;
use super::node_status::NodeStatus;
use super::other_daemon::{ALIVE, GENERATION};
use super::pods::{PENDING, WARNINGS, pending, warnings};
use super::responses::{error_response, json, refused};
use super::scrape::scrape;
use crate::call_limits::CallLimits;
use crate::context::{Context, NodeContext};
use crate::host::Caller;
use crate::hotplug::Rounds;
use crate::ledger::{AbandonRequest, RecordKey, RetryRequest};
use crate::memory_budget::{MemoryBudget, Reservation};
use crate::operations::{Call, dispatch, needs_ledger, time_limit};
use crate::problem::Problem;
use crate::readiness::{self, Startup};
use crate::recovery;
use crate::telemetry::{CallSpan, Logs};

/// The path of calls of runtimes.
const CNI: &str = "/cni";
/// The path on which programs change the networks of running pods.
const DELEGATE: &str = "/delegate";
/// The path on which an operator changes the log level.
pub(crate) const LOG_LEVEL: &str = "/loglevel";
/// The path on which an operator abandons records.
pub(crate) const ABANDON: &str = "/ledger/abandon";
/// The path of the daemon's state, for operators.
pub(crate) const STATUS: &str = "/status";
/// The path on which an operator retries the DEL of a record.
pub(crate) const RETRY: &str = "/ledger/retry";

/// The state that the handlers share.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) node: Arc<NodeContext>,
    /// `None` until this daemon owns the ledger.
    pub(crate) context: watch::Receiver<Option<Arc<Context>>>,
    /// The tasks of calls. The end of a connection cancels the call's token, but does not abort the
    /// task.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when this daemon stops serving.
    pub(crate) stop: CancellationToken,
    pub(crate) logs: Logs,
    /// The step of the start, until this daemon owns the ledger.
    pub(crate) startup: Startup,
    /// The generation of this daemon, for other daemons.
    pub(crate) generation: Option<u64>,
    pub(crate) hotplug_rounds: Rounds,
}

impl FromRef<AppState> for MemoryBudget {
    fn from_ref(state: &AppState) -> Self {
        state.node.request_memory.clone()
    }
}

impl AppState {
    pub(super) fn current_context(&self) -> Option<Arc<Context>> {
        self.context.borrow().clone()
    }

    /// Waits until this daemon owns the ledger. Returns `None` if this daemon stops serving before
    /// that.
    async fn wait_for_context(&self) -> Option<Arc<Context>> {
        let mut context = self.context.clone();
        tokio::select! {
            biased;
            context = context.wait_for(Option::is_some) => context.ok()?.clone(),
            () = self.stop.cancelled() => None,
        }
    }

    /// The response of a probe before this daemon owns the ledger.
    async fn starting(&self) -> Response {
        not_ready(&[self.startup_problem().await.text])
    }

    async fn startup_problem(&self) -> Problem {
        let state_dir = self.node.settings.state_dir.clone();
        let startup = self.startup.clone();
        let problem = tokio::task::spawn_blocking(move || startup.problem(&state_dir)).await;
        problem.unwrap_or_else(|panic| Problem::new(panic.to_string(), "report this as a bug"))
    }
}

/// All paths, for the socket.
pub(crate) fn router(state: AppState) -> Router {
    let probes = probe_router(state.clone());
    Router::new()
        .route(CNI, post(cni))
        .route(DELEGATE, post(delegate))
        .route(LOG_LEVEL, put(log_level))
        .route(ALIVE, get(alive))
        .route(GENERATION, get(generation))
        .route(ABANDON, post(abandon))
        .route(RETRY, post(retry))
        .route(STATUS, get(status))
        .route(WARNINGS, get(warnings))
        .route(PENDING, get(pending))
        .with_state(state.clone())
        .merge(probes)
        .layer(from_fn_with_state(state, count_as_multus))
}

/// The read-only paths, for the metrics port.
pub(crate) fn probe_router(state: AppState) -> Router {
    Router::new()
        .route("/healthz", get(healthz).post(healthz))
        .route("/readyz", get(readyz).post(readyz))
        .route("/metrics", get(metrics))
        .with_state(state)
}

/// Counts requests in Multus' metric, if `metricsPort` is set.
async fn count_as_multus(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let code = response.status();
    // Clients can send any path. Unknown paths share a label, so that the number of series is
    // bounded.
    let handler = if code == StatusCode::NOT_FOUND {
        "NotFound"
    } else {
        &path
    };
    state
        .node
        .metrics
        .multus_request(handler, code.as_u16(), method.as_str());
    response
}

/// Responds when this daemon stops. The connection ends without a response when the daemon dies.
async fn alive(State(state): State<AppState>) -> StatusCode {
    state.stop.cancelled().await;
    StatusCode::OK
}

/// Responds with an empty body if this daemon has no generation.
async fn generation(State(state): State<AppState>) -> String {
    state
        .generation
        .map(|generation| generation.to_string())
        .unwrap_or_default()
}

/// Fails while this daemon waits for the ledger: the liveness probe then restarts the daemon that
/// holds it, or this one. Fails as well if this daemon must be restarted to install Plexus.
async fn healthz(State(state): State<AppState>) -> Response {
    let Some(context) = state.current_context() else {
        if state.startup.is_waiting_for_ledger() {
            return state.starting().await;
        }
        return StatusCode::OK.into_response();
    };
    match readiness::restart_required(&context) {
        None => StatusCode::OK.into_response(),
        Some(reason) => not_ready(&[reason]),
    }
}

fn not_ready(lines: &[String]) -> Response {
    let text = lines.join("\n") + "\n";
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

async fn readyz(State(state): State<AppState>) -> Response {
    let Some(context) = state.current_context() else {
        return state.starting().await;
    };
    let problems = readiness::problems(&context).into_iter();
    let lines: Vec<_> = problems.map(|found| found.problem.to_string()).collect();
    if lines.is_empty() {
        StatusCode::OK.into_response()
    } else {
        not_ready(&lines)
    }
}

/// The state of this daemon and of the ledger, also before this daemon owns the ledger.
async fn status(State(state): State<AppState>) -> Response {
    let context = state.current_context();
    let starting = match context {
        None => Some(state.startup_problem().await),
        Some(_) => None,
    };
    json(&NodeStatus::of_daemon(&state.node, context.as_deref(), starting).await)
}

async fn metrics(State(state): State<AppState>) -> Response {
    let Some(context) = state.wait_for_context().await else {
        return stopped_serving();
    };
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (content_type, scrape(&context).await).into_response()
}

/// Changes the log level until the daemon ends. The body is the name of a level.
async fn log_level(State(state): State<AppState>, body: ReceivedBody) -> Response {
    let level = String::from_utf8_lossy(&body.bytes);
    let level = level.trim();
    match state.logs.set_level(level) {
        Ok(()) => {
            tracing::info!(level, "the log level was changed");
            StatusCode::OK.into_response()
        }
        Err(reason) => (StatusCode::BAD_REQUEST, reason + "\n").into_response(),
    }
}

async fn cni(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    ReceivedBody { bytes, reservation }: ReceivedBody,
) -> Response {
    let request: wire::Request = match decode_call(&bytes, CNI) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    drop(bytes);
    let span = CallSpan::new(&request.env);
    let hosts = state.node.hosts.clone();
    let call = move || {
        let host = hosts.for_caller(&caller)?;
        Ok(Call::Cni { request, host })
    };
    serve(state, span, call, reservation).await
}

async fn delegate(
    State(state): State<AppState>,
    ReceivedBody { bytes, reservation }: ReceivedBody,
) -> Response {
    let request: wire::DelegateRequest = match decode_call(&bytes, DELEGATE) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    drop(bytes);
    let span = CallSpan::new(&request.env);
    serve(state, span, || Ok(Call::Delegate(request)), reservation).await
}

/// Parses the body of a call. Logs an error, because no call span does that yet.
fn decode_call<T: DeserializeOwned>(body: &[u8], path: &str) -> Result<T, CniError> {
    let values = count_values(body);
    let decoded = if values > MAX_REQUEST_VALUES {
        let msg = format!(
            "the request of {path} has {values} variables and other values, but may have {MAX_REQUEST_VALUES}"
        );
        Err(CniError::new(Code::Decode, msg))
    } else {
        decode(body, path)
    };
    decoded.inspect_err(|error| tracing::warn!(code = error.code, "{}", error.msg))
}

/// Serves a call. `reservation` is for the memory of its request.
async fn serve(
    state: AppState,
    span: CallSpan,
    call: impl FnOnce() -> Result<Call, CniError> + Send + 'static,
    reservation: Reservation,
) -> Response {
    let arrived = Instant::now();
    let cancel = CancellationToken::new();
    // Dropped with this future: when the caller disconnects, and after the response.
    let _guard = cancel.clone().drop_guard();
    let mut context = None;
    if needs_ledger(span.verb()) {
        let limit = span.verb().map_or(Duration::ZERO, |verb| {
            time_limit(verb, &state.node.settings)
        });
        let limits = CallLimits::new("", arrived, limit, cancel.clone());
        context = match timeout_at(limits.deadline, state.wait_for_context()).await {
            Ok(None) => return stopped_serving(),
            Ok(context) => context,
            Err(_) => return refused(&ledger_not_released(&state).await),
        };
    }
    let (node, tasks) = (state.node.clone(), state.tasks.clone());
    // Boxed, because the future is large, and each wrapper would copy it.
    let served = Box::pin(async move {
        let _reservation = reservation;
        let call = call()?;
        dispatch(&state.node, context.as_deref(), call, arrived, cancel).await
    });
    match tasks
        .spawn(async move { span.observe(&node.metrics, served).await })
        .await
    {
        Ok(Ok(Some(result))) => json(&wire::Response { result }),
        Ok(Ok(None)) => StatusCode::OK.into_response(),
        Ok(Err(error)) => refused(&error),
        // `observe` catches panics, so the task was aborted: the daemon is shutting down.
        Err(_) => refused(&CniError::new(
            Code::TryAgain,
            "plexusd stopped during the call",
        )),
    }
}

/// Parses the body of a request to `path`.
fn decode<T: DeserializeOwned>(body: &[u8], path: &str) -> Result<T, CniError> {
    serde_json::from_slice(body).map_err(|error| {
        let reason = shorten(&error.to_string());
        let msg = format!("the body is not a valid request of {path}: {reason}");
        CniError::new(Code::Decode, msg)
    })
}

async fn abandon(State(state): State<AppState>, body: ReceivedBody) -> Response {
    let request: AbandonRequest = match decode(&body.bytes, ABANDON) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    let Some(context) = state.wait_for_context().await else {
        return stopped_serving();
    };
    let limits = CallLimits::new(
        "`plexusd ledger abandon`",
        Instant::now(),
        context.node.settings.del_timeout,
        CancellationToken::new(),
    );
    let boot_id = &context.node.boot_id;
    match context.ledger.abandon(&request, boot_id, &limits).await {
        Ok(outcome) => json(&outcome),
        Err(error) => refused(&error.into()),
    }
}

async fn retry(State(state): State<AppState>, body: ReceivedBody) -> Response {
    let key = match decode::<RetryRequest>(&body.bytes, RETRY) {
        Ok(request) => RecordKey::new(&request.container_id, &request.ifname),
        Err(error) => return refused(&error),
    };
    let Some(context) = state.wait_for_context().await else {
        return stopped_serving();
    };
    // A DEL runs to its end, even if the caller is gone (decision 15).
    let task = state
        .tasks
        .spawn(async move { recovery::retry(&context, &key).await });
    match task.await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(error)) => refused(&error),
        Err(panic) => refused(&CniError::new(Code::Internal, panic.to_string())),
    }
}

/// The error of a call whose time has passed before this daemon owned the ledger.
async fn ledger_not_released(state: &AppState) -> CniError {
    let text = state.startup_problem().await.text;
    CniError::new(
        Code::TryAgain,
        format!("timed out waiting for plexusd: {text}"),
    )
}

/// The response of a daemon that has stopped serving and has not started the call. The shim retries
/// with the daemon that takes over.
fn stopped_serving() -> Response {
    let msg =
        "this plexusd has stopped serving and did not start the call; another plexusd takes over";
    error_response(
        StatusCode::SERVICE_UNAVAILABLE,
        &CniError::new(Code::TryAgain, msg),
    )
}
