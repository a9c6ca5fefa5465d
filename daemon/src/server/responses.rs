//! Responses with a body in JSON.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use plexus_api::cni::{CniError, Code};
use serde::Serialize;

pub(super) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => refused(&CniError::new(
            Code::Internal,
            format!("the response cannot be encoded: {error}"),
        )),
    }
}

pub(super) fn refused(error: &CniError) -> Response {
    error_response(StatusCode::BAD_REQUEST, error)
}

pub(super) fn error_response(status: StatusCode, error: &CniError) -> Response {
    let body = serde_json::to_vec(error).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
