//! The paths of the socket: those of Multus, `/cni`, `/healthz`, `/readyz`; `/metrics`; `/alive`, for the daemon before
//! this one; `/loglevel` and `/ledger/abandon`, for the operator.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use plexus_api::cni::{CniError, Code, Verb};
use plexus_api::wire::{self, MAX_REQUEST};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::successor::ALIVE;
use crate::context::Context;
use crate::host::{Caller, Hosts};
use crate::ledger::{Abandon, Ledger};
use crate::operations::Availability;
use crate::telemetry::{CallSpan, Logs, Metrics};

/// The path on which an operator gives up records.
pub(crate) const ABANDON: &str = "/ledger/abandon";

/// What the paths work with.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The context, once this daemon has the ledger. Until then the daemon before this one has it.
    pub(crate) context: watch::Receiver<Option<Arc<Context>>>,
    /// What needs no ledger.
    pub(crate) availability: Arc<Availability>,
    /// Where plugins run.
    pub(crate) hosts: Hosts,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// Where the ledger is.
    pub(crate) state_dir: PathBuf,
    /// Calls run as tasks of this: a connection that ends is a message to them, never their end.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the daemon serves no more.
    pub(crate) stop: CancellationToken,
    /// What is logged.
    pub(crate) logs: Logs,
}

impl Shared {
    /// The context, where they are there now.
    fn context_now(&self) -> Option<Arc<Context>> {
        self.context.borrow().clone()
    }

    /// The context, as soon as they are there; none where this daemon serves no more before that.
    async fn context(&self) -> Option<Arc<Context>> {
        let mut context = self.context.clone();
        tokio::select! {
            biased;
            found = context.wait_for(Option::is_some) => found.ok()?.clone(),
            () = self.stop.cancelled() => None,
        }
    }

    /// What a daemon waits for that has no context yet.
    async fn waits_for(&self) -> String {
        let state_dir = self.state_dir.clone();
        let holder = tokio::task::spawn_blocking(move || Ledger::waits_for(&state_dir)).await;
        holder.map_or_else(
            |panic| panic.to_string(),
            |holder| format!("plexusd waits for the ledger: {holder}\n"),
        )
    }
}

/// The paths.
pub(crate) fn router(shared: Shared) -> Router {
    let metrics = metrics_router(shared.clone());
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
pub(crate) fn metrics_router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(healthy).post(healthy))
        .route("/readyz", get(ready).post(ready))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

/// Multus' metric, where `metricsPort` asks for it.
async fn count_as_multus(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = next.run(request).await;
    let code = response.status();
    // Anyone can ask for any path; those that are not there count as one.
    let handler = if code == StatusCode::NOT_FOUND {
        "NotFound"
    } else {
        &path
    };
    shared
        .metrics
        .multus_request(handler, code.as_u16(), method.as_str());
    response
}

/// Answers when this daemon stops; the connection ends when it dies.
async fn alive(State(shared): State<Shared>) -> StatusCode {
    shared.stop.cancelled().await;
    StatusCode::OK
}

/// Not while this daemon waits for the ledger: probes then end the one that holds it, or this one.
async fn healthy(State(shared): State<Shared>) -> Response {
    match shared.context_now() {
        Some(_) => StatusCode::OK.into_response(),
        None => (StatusCode::INTERNAL_SERVER_ERROR, shared.waits_for().await).into_response(),
    }
}

async fn ready(State(shared): State<Shared>) -> Response {
    let Some(context) = shared.context_now() else {
        return (StatusCode::INTERNAL_SERVER_ERROR, shared.waits_for().await).into_response();
    };
    let problems = context.problems();
    if problems.is_empty() {
        StatusCode::OK.into_response()
    } else {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            problems.join("\n") + "\n",
        )
            .into_response()
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    let Some(context) = shared.context().await else {
        return elsewhere();
    };
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        context.metrics().await,
    )
        .into_response()
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
            return unreadable(&CniError::new(
                Code::Decode,
                format!("the request is not JSON of /cni: {error}"),
            ));
        }
    };
    drop(body);
    let gone = CancellationToken::new();
    // Dropped with this future when the caller goes away, and after the answer, when nobody listens any more.
    let _guard = gone.clone().drop_guard();
    let is_status = request
        .env
        .get("CNI_COMMAND")
        .is_some_and(|verb| verb == Verb::Status.as_str());
    let context = if is_status {
        None
    } else {
        let Some(context) = shared.context().await else {
            return elsewhere();
        };
        Some(context)
    };
    let (call, metrics, tasks) = (
        CallSpan::new(&request),
        shared.metrics.clone(),
        shared.tasks.clone(),
    );
    // Boxed: it is large, and each layer around it would copy it.
    let serve = Box::pin(async move {
        let host = shared.hosts.for_caller(&caller)?;
        match context {
            Some(context) => context.serve(request, host, gone).await,
            None => shared.availability.serve(&request, host, gone).await,
        }
    });
    match tasks
        .spawn(async move { call.observe(&metrics, serve).await })
        .await
    {
        Ok(Ok(Some(result))) => answered(result),
        Ok(Ok(None)) => StatusCode::OK.into_response(),
        Ok(Err(error)) => refused(&error),
        // It has not panicked; the daemon ends.
        Err(_) => refused(&CniError::new(
            Code::TryAgain,
            "plexusd stopped in the middle of the call",
        )),
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
    let Some(context) = shared.context().await else {
        return elsewhere();
    };
    match context.ledger.abandon(&which).await {
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
        Err(error) => refused(&CniError::new(
            Code::Internal,
            format!("the answer cannot be written: {error}"),
        )),
    }
}

/// Nothing was done, and another daemon is or will be at the socket: the caller asks again.
fn elsewhere() -> Response {
    let error = CniError::new(
        Code::TryAgain,
        "this plexusd serves no more, another does; nothing was done",
    );
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::CONTENT_TYPE, "application/json")],
        body(&error),
    )
        .into_response()
}

/// Refuses a request of which it is not known what call it is.
fn unreadable(error: &CniError) -> Response {
    tracing::warn!(code = error.code, "{}", error.msg);
    refused(error)
}

fn refused(error: &CniError) -> Response {
    (
        StatusCode::BAD_REQUEST,
        [(header::CONTENT_TYPE, "application/json")],
        body(error),
    )
        .into_response()
}

fn body(error: &CniError) -> Vec<u8> {
    serde_json::to_vec(error).unwrap_or_default()
}
