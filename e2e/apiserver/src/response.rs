//! HTTP responses.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::stream;
use serde_json::Value;

use crate::audit::AuditGuard;
use crate::status_error::{ErrorBody, StatusError};

const JSON: &str = "application/json";
const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
/// The number of chunks of a slow body.
const CHUNKS: u32 = 20;

/// A successful response.
pub enum ApiResponse {
    /// A JSON document with this status.
    Document(StatusCode, Value),
    /// Plain text.
    Text(&'static str),
    /// The events of a watch.
    Stream(Body),
}

impl ApiResponse {
    /// A JSON document with the status 200.
    pub fn ok(document: Value) -> Self {
        Self::Document(StatusCode::OK, document)
    }
}

/// The HTTP response for the outcome of a request.
pub fn to_http(outcome: Result<ApiResponse, StatusError>) -> Response {
    match outcome {
        Ok(ApiResponse::Document(status, document)) => response(status, JSON, document.to_string()),
        Ok(ApiResponse::Text(text)) => response(StatusCode::OK, PLAIN_TEXT, text),
        Ok(ApiResponse::Stream(body)) => response(StatusCode::OK, JSON, body),
        Err(error) => error_response(error),
    }
}

fn error_response(error: StatusError) -> Response {
    let status = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match error.body {
        ErrorBody::Status(document) => response(status, JSON, document.to_string()),
        ErrorBody::Text(text) => response(status, PLAIN_TEXT, text),
    };
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn response(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Sends the body in chunks, spread over `duration`. The audit entry stays open until the end.
pub async fn slow_down(response: Response, duration: Duration, audit: Arc<AuditGuard>) -> Response {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX)
        .await
        .expect("a body in memory must be readable");
    let chunk_size = body.len().div_ceil(CHUNKS as usize).max(1);
    let chunks = stream::unfold((body, audit), move |(mut rest, audit)| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(duration / CHUNKS).await;
        let chunk = rest.split_to(chunk_size.min(rest.len()));
        Some((Ok::<_, Infallible>(chunk), (rest, audit)))
    });
    Response::from_parts(parts, Body::from_stream(chunks))
}
