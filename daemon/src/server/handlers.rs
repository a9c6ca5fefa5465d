//! The paths of the socket: those of Multus, `/cni`, `/healthz`, `/readyz`; and `/alive`, for the daemon before this one.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use plexus_api::cni::{CniError, Code};
use plexus_api::wire::{self, MAX_REQUEST};
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::successor::ALIVE;
use crate::verbs::Verbs;

#[derive(Clone)]
struct Shared {
    verbs: Arc<Verbs>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The paths. Calls run as tasks of `tasks`: a connection that ends is a message to them, never their end.
pub fn router(verbs: Arc<Verbs>, tasks: TaskTracker, stop: CancellationToken) -> Router {
    Router::new()
        .route("/cni", post(cni))
        .route("/healthz", get(healthy).post(healthy))
        .route("/readyz", get(ready).post(ready))
        .route(ALIVE, get(alive))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(Shared { verbs, tasks, stop })
}

/// Answers when this daemon stops; the connection ends when it dies.
async fn alive(State(shared): State<Shared>) -> StatusCode {
    shared.stop.cancelled().await;
    StatusCode::OK
}

async fn healthy() -> StatusCode {
    StatusCode::OK
}

async fn ready(State(shared): State<Shared>) -> Response {
    let problems = shared.verbs.problems();
    if problems.is_empty() {
        StatusCode::OK.into_response()
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, problems.join("\n") + "\n").into_response()
    }
}

async fn cni(State(shared): State<Shared>, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            let why = rejection.body_text();
            let msg = format!("the request cannot be read, it may have {MAX_REQUEST} bytes: {why}");
            return refused(&CniError::new(Code::Decode, msg));
        }
    };
    let request: wire::Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            return refused(&CniError::new(Code::Decode, format!("the request is not JSON of /cni: {error}")));
        }
    };
    drop(body);
    let gone = CancellationToken::new();
    // Dropped with this future when the caller goes away, and after the answer, when nobody listens any more.
    let _guard = gone.clone().drop_guard();
    match shared.tasks.spawn(shared.verbs.serve(request, gone)).await {
        Ok(Ok(Some(result))) => answered(result),
        Ok(Ok(None)) => StatusCode::OK.into_response(),
        Ok(Err(error)) => refused(&error),
        Err(panic) => {
            tracing::error!(%panic, "a call panicked");
            refused(&CniError::new(Code::Internal, "plexusd panicked; its log has the place. Please report it"))
        }
    }
}

fn answered(result: Box<RawValue>) -> Response {
    match serde_json::to_vec(&wire::Response { result }) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => refused(&CniError::new(Code::Internal, format!("the result cannot be written: {error}"))),
    }
}

fn refused(error: &CniError) -> Response {
    tracing::warn!(code = error.code, details = error.details, "{}", error.msg);
    let body = serde_json::to_vec(error).unwrap_or_default();
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
