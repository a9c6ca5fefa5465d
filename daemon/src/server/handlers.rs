//! The paths of the socket: those of Multus, `/cni`, `/healthz`, `/readyz`; `/metrics`; `/alive`, for the daemon before
//! this one; `/loglevel` and `/ledger/abandon`, for the operator.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use plexus_api::cni::{CniError, Code};
use plexus_api::wire::{self, MAX_REQUEST};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::successor::ALIVE;
use crate::host::Caller;
use crate::ledger::Abandon;
use crate::telemetry::{Call, Logs};
use crate::verbs::Verbs;

/// The path on which an operator gives up records.
pub const ABANDON: &str = "/ledger/abandon";

#[derive(Clone)]
struct Shared {
    verbs: Arc<Verbs>,
    tasks: TaskTracker,
    stop: CancellationToken,
    logs: Logs,
}

/// The paths. Calls run as tasks of `tasks`: a connection that ends is a message to them, never their end.
pub fn router(verbs: Arc<Verbs>, tasks: TaskTracker, stop: CancellationToken, logs: Logs) -> Router {
    let metrics = metrics_router(verbs.clone());
    let shared = Shared { verbs, tasks, stop, logs };
    Router::new()
        .route("/cni", post(cni))
        .route("/loglevel", put(log_level))
        .route(ALIVE, get(alive))
        .route(ABANDON, post(abandon))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(shared.clone())
        .merge(metrics)
        .layer(from_fn_with_state(shared, count_as_multus))
}

/// The paths that tell how the daemon is, and change nothing.
pub fn metrics_router(verbs: Arc<Verbs>) -> Router {
    Router::new()
        .route("/healthz", get(healthy).post(healthy))
        .route("/readyz", get(ready).post(ready))
        .route("/metrics", get(metrics))
        .with_state(verbs)
}

/// Multus' metric, where `metricsPort` asks for it.
async fn count_as_multus(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let code = response.status();
    // Anyone can ask for any path; those that are not there count as one.
    let handler = if code == StatusCode::NOT_FOUND { "NotFound" } else { &path };
    shared.verbs.metrics.multus_request(handler, code.as_u16(), method.as_str());
    response
}

/// Answers when this daemon stops; the connection ends when it dies.
async fn alive(State(shared): State<Shared>) -> StatusCode {
    shared.stop.cancelled().await;
    StatusCode::OK
}

async fn healthy() -> StatusCode {
    StatusCode::OK
}

async fn ready(State(verbs): State<Arc<Verbs>>) -> Response {
    let problems = verbs.problems();
    if problems.is_empty() {
        StatusCode::OK.into_response()
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, problems.join("\n") + "\n").into_response()
    }
}

async fn metrics(State(verbs): State<Arc<Verbs>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], verbs.metrics().await).into_response()
}

/// Changes the log level until the daemon ends. The body is a level's name.
async fn log_level(State(shared): State<Shared>, level: String) -> Response {
    let level = level.trim();
    match shared.logs.set_level(level) {
        Ok(()) => {
            tracing::info!(level, "the log level was changed");
            StatusCode::OK.into_response()
        }
        Err(why) => (StatusCode::BAD_REQUEST, why + "\n").into_response(),
    }
}

async fn cni(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            let why = rejection.body_text();
            let msg = format!("the request cannot be read, it may have {MAX_REQUEST} bytes: {why}");
            return unreadable(&CniError::new(Code::Decode, msg));
        }
    };
    let request: wire::Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            return unreadable(&CniError::new(Code::Decode, format!("the request is not JSON of /cni: {error}")));
        }
    };
    drop(body);
    let gone = CancellationToken::new();
    // Dropped with this future when the caller goes away, and after the answer, when nobody listens any more.
    let _guard = gone.clone().drop_guard();
    let (call, metrics) = (Call::new(&request), shared.verbs.metrics.clone());
    // Boxed: it is large, and each layer around it would copy it.
    let verbs = shared.verbs.clone();
    let serve = Box::pin(async move {
        let host = verbs.hosts.of(&caller)?;
        verbs.serve(request, host, gone).await
    });
    match shared.tasks.spawn(async move { call.observe(&metrics, serve).await }).await {
        Ok(Ok(Some(result))) => answered(result),
        Ok(Ok(None)) => StatusCode::OK.into_response(),
        Ok(Err(error)) => refused(&error),
        // It has not panicked; the daemon ends.
        Err(_) => refused(&CniError::new(Code::TryAgain, "plexusd stopped in the middle of the call")),
    }
}

async fn abandon(State(shared): State<Shared>, body: Bytes) -> Response {
    let which: Abandon = match serde_json::from_slice(&body) {
        Ok(which) => which,
        Err(error) => {
            let msg = format!("the request is not JSON of {ABANDON}: {error}");
            return refused(&CniError::new(Code::Decode, msg));
        }
    };
    match shared.verbs.ledger.abandon(&which).await {
        Ok(abandoned) => json(&abandoned),
        Err(error) => refused(&error.into()),
    }
}

fn answered(result: Box<RawValue>) -> Response {
    json(&wire::Response { result })
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => refused(&CniError::new(Code::Internal, format!("the answer cannot be written: {error}"))),
    }
}

/// Refuses a request of which it is not known what call it is.
fn unreadable(error: &CniError) -> Response {
    tracing::warn!(code = error.code, "{}", error.msg);
    refused(error)
}

fn refused(error: &CniError) -> Response {
    let body = serde_json::to_vec(error).unwrap_or_default();
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
