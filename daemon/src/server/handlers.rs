//! The paths of the socket: those of Multus, `/cni`, `/healthz`, `/readyz`; `/alive`, for the daemon before
//! this one; and `/ledger/abandon`, for the operator.

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
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::successor::ALIVE;
use crate::ledger::Abandon;
use crate::verbs::Verbs;

/// The path on which an operator gives up records.
pub const ABANDON: &str = "/ledger/abandon";

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
        .route(ABANDON, post(abandon))
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
    if shared.verbs.store.synced() {
        StatusCode::OK.into_response()
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "the pods and definitions of this node are not known yet\n").into_response()
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

fn refused(error: &CniError) -> Response {
    tracing::warn!(code = error.code, details = error.details, "{}", error.msg);
    let body = serde_json::to_vec(error).unwrap_or_default();
    (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
